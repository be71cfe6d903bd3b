"""Settings of our processes where pretend vendors answer them."""

from __future__ import annotations

TOKEN = "token-of-the-rig"  # noqa: S105  opens nothing but what the rig starts
CALLBACK_KEY = "key-of-the-rig-long-enough-for-anything"
HUBSPOT_TOKEN = "hs_sandbox"  # noqa: S105  the sandbox's own


def sandboxed(
    *, database: str, public_url: str, leadmagic: str, nyne: str, hubspot: str | None = None, **more: str
) -> dict[str, str]:
    """Return the settings to ask the vendors at these addresses, with the sandbox's own keys; *more* wins."""
    crm = {}
    if hubspot is not None:
        crm = {
            "HUBSPOT_BASE_URL": hubspot,
            "HUBSPOT_ACCESS_TOKEN": HUBSPOT_TOKEN,
            "HUBSPOT_CLIENT_SECRET": "hs_sandbox_secret",
        }
    return (
        {
            "DATABASE_URL": database,
            "PUBLIC_URL": public_url,
            "API_TOKENS": TOKEN,
            "CALLBACK_KEYS": CALLBACK_KEY,
            "LEADMAGIC_BASE_URL": leadmagic,
            "LEADMAGIC_API_KEY": "lm_sandbox",
            "NYNE_BASE_URL": nyne,
            "NYNE_API_KEY": "nyne_sandbox",
            "NYNE_API_SECRET": "nyne_sandbox_secret",
        }
        | crm
        | more
    )
