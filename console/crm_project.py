"""The project folder of HubSpot: an app with a token and webhooks, for `hs project upload`.

https://developers.hubspot.com/docs/apps/developer-platform/build-apps/create-an-app
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from enrichment.setting_types import Condition

PLATFORM = "2026.03"
SCOPES = ("oauth", "crm.objects.contacts.read", "crm.objects.contacts.write")
SUBSCRIBED = ("object.creation", "object.merge", "object.deletion")
NEXT = """  npm i -g @hubspot/cli          once; 7.6 or newer
  hs account auth                once; it opens a browser
  cd {folder} && hs project upload
  hs project open                the app > Distribution > Install now; then its tab Auth:
                                 access token  -> HUBSPOT_ACCESS_TOKEN
                                 client secret -> HUBSPOT_CLIENT_SECRET
  ringback connect hubspot       again, with both set"""


def write_project(
    folder: Path, public_url: str, linkedin_field: str, conditions: Sequence[Condition] = ()
) -> list[Path]:
    """Write the files of the project into *folder*, and return those that are new or changed.

    *conditions*: those of ONLY_IF; the app subscribes to changes of their properties.
    """
    changed = []
    telling = dict.fromkeys(("email", linkedin_field, *(condition.name for condition in conditions)))
    for name, content in _files(public_url, telling):
        path = folder / name
        text = json.dumps(content, indent=2) + "\n"
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        changed.append(path)
    return changed


def _files(public_url: str, telling: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "hsproject.json", {"name": "ringback", "srcDir": "src", "platformVersion": PLATFORM}
    yield (
        "src/app/app-hsmeta.json",
        {
            "uid": "ringback_app",
            "type": "app",
            "config": {
                "name": "Ringback",
                "description": "Finds the mobile numbers of new contacts.",
                "distribution": "private",
                "auth": {
                    "type": "static",
                    "requiredScopes": list(SCOPES),
                    "optionalScopes": [],
                    "conditionallyRequiredScopes": [],
                },
                "permittedUrls": {"fetch": ["https://api.hubapi.com"], "iframe": [], "img": []},
            },
        },
    )
    contact = {"objectType": "contact", "active": True}
    yield (
        "src/app/webhooks/webhooks-hsmeta.json",
        {
            "uid": "ringback_webhooks",
            "type": "webhooks",
            "config": {
                "settings": {"targetUrl": f"{public_url}/events/hubspot", "maxConcurrentRequests": 10},
                "subscriptions": {
                    "crmObjects": [
                        *({"subscriptionType": kind, **contact} for kind in SUBSCRIBED),
                        *(
                            {"subscriptionType": "object.propertyChange", "propertyName": name, **contact}
                            for name in telling
                        ),
                    ],
                    "legacyCrmObjects": [],
                    "hubEvents": [{"subscriptionType": "contact.privacyDeletion", "active": True}],
                },
            },
        },
    )
