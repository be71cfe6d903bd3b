"""What a CRM is to be told: the results of lookups, and the numbers that we wrote onto a record before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from enrichment.contact import Contact
from enrichment.write_back import Result
from store.database import Db


@dataclass(frozen=True, slots=True)
class Told:
    """A lookup's *result*, the record that it is for, and the *contact* that was asked about.

    *is_open*: a person retried it, and it has no result now.
    *is_foreign*: it is older than the connection to the CRM, so its record may be one of another account.
    *needs_check*: something is suppressed, perhaps its number.
    """

    record_id: str
    result: Result
    contact: Contact
    is_open: bool = False
    is_foreign: bool = False
    needs_check: bool = True


async def read_results(db: Db, lookup_ids: Sequence[UUID]) -> dict[UUID, Told]:
    """Return what is to be told of these lookups; leave out those that are gone."""
    rows = await db.fetch(
        """
        SELECT id, record_id, COALESCE(final_status::text, 'queued') AS status, final_status IS NULL AS is_open,
               mobile, line_type, provider, finished_at, COALESCE(region_hint, region) AS region,
               lookups.created_at < connections.connected_at AS is_foreign,
               (SELECT EXISTS (SELECT FROM suppressions)) AS needs_check,   -- usually there are none
               profile_url, work_email, personal_email, name, company
          FROM lookups
          LEFT JOIN connections ON connections.crm = lookups.source
         WHERE id = ANY($1::uuid[])
           AND record_id IS NOT NULL
        """,
        sorted(set(lookup_ids)),
    )
    return {
        row["id"]: Told(
            row["record_id"],
            Result(
                row["status"], row["mobile"], row["line_type"], row["provider"], row["finished_at"], row["region"]
            ),
            Contact(
                profile_url=row["profile_url"], work_email=row["work_email"], personal_email=row["personal_email"],
                name=row["name"], company=row["company"],
            ),
            row["is_open"],
            row["is_foreign"] is not False,
            row["needs_check"],
        )
        for row in rows
    }  # fmt: skip


async def numbers_of_ours(db: Db, crm: str, record_ids: Sequence[str]) -> frozenset[bytes]:
    """Return the hashes of the numbers that we wrote onto these records of the CRM."""
    rows = await db.fetch(
        """
        SELECT DISTINCT deliveries.wrote
          FROM lookups
          JOIN deliveries ON deliveries.lookup_id = lookups.id
         WHERE lookups.record_id = ANY($2::text[])
           AND lookups.source = $1
           AND deliveries.channel = $1
           AND deliveries.wrote IS NOT NULL
        """,
        crm,
        list(record_ids),
    )
    return frozenset(row["wrote"] for row in rows)
