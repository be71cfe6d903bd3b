"""Make and verify the token in a callback URL, which proves that the URL is ours, without the database."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from uuid import UUID

from pydantic import SecretStr


def callback_url(public_url: str, keys: Sequence[SecretStr], provider: str, job_id: UUID) -> str:
    """Return the URL for *provider*'s answer to this job, signed with the first of *keys*. The URL is a secret."""
    return f"{public_url}/callbacks/{provider}/{job_id}/{_token(keys[0], provider, job_id)}"


def is_genuine(token: str, keys: Sequence[SecretStr], provider: str, job_id: UUID) -> bool:
    """Tell, in constant time, whether *token* was signed for this job with any of *keys*."""
    given = token.encode("utf-8", "replace")
    # Every key is tried, so that the time does not reveal which one fits.
    return any([hmac.compare_digest(given, _token(key, provider, job_id).encode()) for key in keys])  # noqa: C419


def _token(key: SecretStr, provider: str, job_id: UUID) -> str:
    return hmac.new(key.get_secret_value().encode(), f"{provider}:{job_id}".encode(), hashlib.sha256).hexdigest()
