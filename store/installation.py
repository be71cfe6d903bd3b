"""The installation's own row: the secret with which identifiers are hashed."""

from __future__ import annotations

import hmac
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import asyncpg

from enrichment.crms import CRMS
from enrichment.guards import read_guards
from enrichment.wish import WEBHOOK, Hasher, Policy
from store.database import Db

if TYPE_CHECKING:
    from enrichment.settings import Settings


class IdentityKeyError(Exception):
    """IDENTITY_KEY is missing, or not the key of this database; the message says what to do."""


async def create_identity_key(db: Db, given: str | None) -> None:
    """Store the identity key of a new database: a fingerprint of the *given* key, or else a random key."""
    key = given.encode() if given else secrets.token_bytes(32)
    await db.execute(
        """
        INSERT INTO installation (identity_key, identity_fingerprint)
        VALUES ($1, $2)
            ON CONFLICT (only_row) DO NOTHING
        """,
        None if given else key,
        identity_fingerprint(key),
    )


class Installation:
    """The reuse policy of this installation, read on first use: a process may start before its database answers."""

    def __init__(self, pool: asyncpg.Pool[Any], settings: Settings) -> None:
        self._pool = pool
        self._settings = settings
        self._policy: Policy | None = None

    async def policy(self) -> Policy:
        """Return how answers are reused. Raise IdentityKeyError when IDENTITY_KEY is not this database's."""
        if self._policy is None:
            self._policy = Policy(
                hash=await read_hasher(self._pool, self._settings),
                providers=tuple(self._settings.providers),
                found=timedelta(days=self._settings.reuse_found_days),
                not_found=timedelta(days=self._settings.reuse_not_found_days),
                stops_in_doubt=self._settings.unknown_policy == "hold",
                channels=channels_of(self._settings),
                guards=read_guards(self._settings),
            )
        return self._policy


def channels_of(settings: Settings) -> tuple[str, ...]:
    """Return the channels that results go to by these settings."""
    webhook = (WEBHOOK,) if settings.result_webhook_url else ()
    return webhook if settings.write_back == "off" else (*webhook, *CRMS)


async def read_hasher(db: Db, settings: Settings) -> Hasher:
    """Return the hasher with this database's identity key. Raise IdentityKeyError when IDENTITY_KEY is another one."""
    given = settings.identity_key.get_secret_value() if settings.identity_key else None
    return Hasher.of(await read_identity_key(db, given))


async def read_identity_key(db: Db, given: str | None) -> bytes:
    """Return this database's identity key, which must be the *given* one, if any. Raise IdentityKeyError."""
    row = await db.fetchrow("SELECT identity_key, identity_fingerprint FROM installation")
    stored: bytes | None = row["identity_key"] if row else None
    key = given.encode() if given else stored
    if row is None or key is None:
        raise IdentityKeyError(
            "This database was filled with an IDENTITY_KEY, and none is set. Remedy: set the one that was used."
            if row
            else "This database has no identity key. Remedy: run `ringback migrate`."
        )
    if not hmac.compare_digest(identity_fingerprint(key), row["identity_fingerprint"]):
        raise IdentityKeyError(
            "IDENTITY_KEY is another one than this database was filled with: no person would be known again. "
            "Remedy: set the one that was used, or start with an empty database."
        )
    return key


def identity_fingerprint(key: bytes) -> bytes:
    """Return 16 bytes that distinguish identity keys without revealing them."""
    return hmac.digest(b"ringback identity key", key, "sha256")[:16]
