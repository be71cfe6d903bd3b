"""The claim of deliveries: one statement that also tells why it took none."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from uuid_utils.compat import uuid7

from store import deliveries
from store.deliveries import DeliveryClaim
from tests.factories import lookup

if TYPE_CHECKING:
    from tests.wishes import Pool

LEASE = timedelta(seconds=20)


async def claim(pool: Pool, channel: str = "hubspot") -> DeliveryClaim:
    """Claim up to two deliveries."""
    return await deliveries.claim(pool, channel, most=2, lease=LEASE, claim_id=uuid7())


async def waiting(pool: Pool, channel: str = "hubspot", *, due_in: float = 0.0) -> None:
    """Let a delivery be due in so many seconds."""
    row = await lookup(pool, source="hubspot", record_id="1", final_status="found")
    await pool.execute(
        """
        INSERT INTO deliveries (id, lookup_id, channel, due_at)
        VALUES (new_id(), $1, $2, now() + make_interval(secs => $3))
        """,
        row["id"],
        channel,
        due_in,
    )


@pytest.mark.parametrize(
    "how",
    [
        "paused_at = now(), paused_reason = 'the token was refused', check_at = now()",
        "rest_until = now() + interval '1 min'",
        "open_until = now() + interval '1 min'",
    ],
    ids=["paused", "resting", "breaker"],
)
async def test_nothing_is_claimed_for_a_crm_that_is_shut(pool: Pool, how: str) -> None:
    """What is due stays queued, and the claim says that it is; the webhook has no such state."""
    await pool.execute(f"INSERT INTO providers (name) VALUES ('hubspot'); UPDATE providers SET {how}")  # noqa: S608  ours
    await waiting(pool)
    await waiting(pool, "webhook")

    assert await claim(pool) == DeliveryClaim((), left=True)
    assert len((await claim(pool, "webhook")).deliveries) == 1

    await pool.execute(
        """
        UPDATE providers
           SET paused_at = NULL, paused_reason = NULL, check_at = NULL,
               rest_until = now() - interval '1 min', open_until = now() - interval '1 min'
        """
    )
    assert len((await claim(pool)).deliveries) == 1


async def test_a_full_claim_says_that_there_may_be_more(pool: Pool) -> None:
    """As many as were asked for: others may be due as well."""
    for _ in range(3):
        await waiting(pool)

    first, second = await claim(pool), await claim(pool)

    assert (len(first.deliveries), first.more) == (2, True)
    assert (len(second.deliveries), second.more) == (1, False)


@pytest.mark.parametrize(("due_in", "idle"), [(None, True), (2.0, False), (60.0, True)])
async def test_an_empty_claim_says_how_long_to_rest(pool: Pool, due_in: float | None, idle: bool) -> None:
    """What is due soon is looked for soon."""
    if due_in is not None:
        await waiting(pool, due_in=due_in)

    assert await claim(pool) == DeliveryClaim((), idle=idle)
