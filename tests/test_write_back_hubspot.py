"""Numbers onto contacts of a pretend HubSpot: exactly once, and never over what a person wrote or cleared."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from sandbox.hubspot.calls import Token
from sandbox.hubspot.portal import Rule
from tests.conftest import Start
from tests.crm_world import MOBILE, THEIRS, CrmWorld, crm_world
from tests.fake_provider import FakeProvider, found

FOUND = found("+1-555-123-4567")


@pytest.fixture
async def crm(start: Start, fake: FakeProvider) -> AsyncIterator[CrmWorld]:
    """Provide a process at work for HubSpot, and a provider that finds the number."""
    fake.questions.append(FOUND)
    async with crm_world(start) as world:
        yield world


async def test_a_number_is_written_onto_its_contact_once(crm: CrmWorld, fake: FakeProvider) -> None:
    """A named contact is read, its number asked for and written; the echo of that write makes no lookup."""
    record = crm.create()

    await crm.find_number(record)
    await crm.deliver()
    await crm.name(record)  # HubSpot tells of our own write
    await crm.read()

    assert crm.value(record) == MOBILE
    assert crm.written_by_us() == [MOBILE]
    assert await crm.delivery() == ("delivered", None)
    assert (await crm.reading(record))["reason"] == "has a mobile"
    assert await crm.lookups() == 1
    assert len(fake.paid) == 1


async def test_the_number_that_was_written_is_known_as_ours(crm: CrmWorld) -> None:
    """The delivery keeps a hash of the number that was written."""
    await crm.find_number(crm.create())
    await crm.deliver()

    (delivery,) = await crm.deliveries()
    assert delivery["wrote"] == crm.at_work.process.policy.hash("number", MOBILE)


@pytest.mark.parametrize(
    ("word", "is_ours", "state"),
    [("human", True, "delivered"), ("humanclears", True, "delivered"), ("humanafter", False, "skipped")],
)
async def test_a_person_who_writes_at_the_worst_moment_is_reported(
    crm: CrmWorld, word: str, is_ours: bool, state: str
) -> None:
    """An edit beside our write cannot be prevented: it shows in the history, is reported, and left to people."""
    record = crm.create(word)

    await crm.find_number(record)
    await crm.deliver()

    assert await crm.delivery() == (state, "a person wrote at the same time; left to people")
    assert (crm.value(record) == MOBILE) is is_ours
    assert ((await crm.deliveries())[0]["wrote"] is not None) is is_ours
    assert crm.written_by_us() == [MOBILE]
    assert await crm.deliver() == 0


@pytest.mark.parametrize("word", ["lostwrite", "504write", "garbagewrite"])
async def test_a_write_with_an_unknown_outcome_is_read_before_it_is_repeated(crm: CrmWorld, word: str) -> None:
    """The number is there, so nothing is written again, and it counts as ours."""
    record = crm.create(word)
    await crm.find_number(record)

    await crm.deliver()
    (first,) = await crm.deliveries()
    await crm.due_now()
    await crm.deliver()

    assert (first["status"], first["tries"]) == ("queued", 1)
    assert await crm.delivery() == ("delivered", "the number stood there already")
    assert crm.written_by_us() == [MOBILE]
    assert (await crm.deliveries())[0]["wrote"] is not None


@pytest.mark.parametrize("word", ["lostbefore", "500write", "lockedonce"])
async def test_a_write_that_was_not_made_is_made_again(crm: CrmWorld, word: str) -> None:
    """A lost or refused request is repeated after the contact was read again."""
    record = crm.create(word)
    await crm.find_number(record)

    await crm.deliver()
    await crm.due_now()
    await crm.deliver()

    assert await crm.delivery() == ("delivered", None)
    assert crm.written_by_us() == [MOBILE]


async def test_a_write_that_is_not_to_be_seen_is_tried_again(crm: CrmWorld) -> None:
    """HubSpot says 200 and the contact has no number: that is no success."""
    await crm.find_number(crm.create("ignored"))

    await crm.deliver()

    (delivery,) = await crm.deliveries()
    assert (delivery["status"], delivery["tries"]) == ("queued", 1)
    assert delivery["error"] == "the contact does not show what was written"


async def test_the_last_failed_try_gives_up(crm: CrmWorld) -> None:
    """After MAX_ATTEMPTS the delivery says how often it was tried, and why it failed."""
    await crm.find_number(crm.create("locked"))
    await crm.pool.execute("UPDATE deliveries SET tries = 7")

    await crm.deliver()

    state, reason = await crm.delivery()
    assert state == "given_up"
    assert str(reason).startswith("given up after 8 tries: HTTP 423")


async def test_a_rule_of_the_account_is_final_and_named(crm: CrmWorld) -> None:
    """The CRM's own validation refuses for good, and the reason names the rule and the property."""
    crm.account.portal.rules.append(Rule(require=("jobtitle",), when="mobilephone", values=(MOBILE,)))
    await crm.find_number(crm.create())

    await crm.deliver()

    state, reason = await crm.delivery()
    assert state == "refused"
    assert "MISSING_CONDITIONAL_REQUIRED_PROPERTY of jobtitle" in str(reason)
    assert await crm.deliver() == 0


async def test_what_a_person_wrote_meanwhile_stays(crm: CrmWorld) -> None:
    """A number that a person entered while ours was looked for is not replaced."""
    record = crm.create()
    await crm.find_number(record)
    crm.edit(record, mobilephone=THEIRS)

    await crm.deliver()

    assert crm.value(record) == THEIRS
    assert await crm.delivery() == ("skipped", "a person wrote another number")


async def test_what_a_person_cleared_stays_empty(crm: CrmWorld) -> None:
    """A field that had a number is empty because a person wants it so."""
    record = crm.create()
    await crm.find_number(record)
    crm.edit(record, mobilephone=THEIRS)
    crm.edit(record, mobilephone="")

    await crm.deliver()

    assert crm.value(record) is None
    assert await crm.delivery() == ("skipped", "a person cleared the field")


async def test_a_deleted_contact_is_gone(crm: CrmWorld) -> None:
    """A number whose contact was deleted before the write goes nowhere."""
    record = crm.create()
    await crm.find_number(record)
    crm.delete(record)

    await crm.deliver()

    assert await crm.delivery() == ("skipped", "gone")


async def test_a_number_follows_its_contact_through_a_merge(crm: CrmWorld) -> None:
    """Merged before the write: the number goes to the contact that it was merged into, and the delivery names it."""
    record, other = crm.create(), crm.create()
    await crm.find_number(record)
    merged = crm.merge(other, record)

    await crm.deliver()

    assert crm.value(merged) == MOBILE
    assert (await crm.deliveries())[0]["record_id"] == merged
    assert await crm.delivery() == ("delivered", None)


@pytest.mark.parametrize(("word", "states"), [("humandeletes", {"skipped"}), ("humanmerges", {"delivered", "queued"})])
async def test_a_contact_that_vanishes_between_read_and_write(crm: CrmWorld, word: str, states: set[str]) -> None:
    """Deleted or merged at the worst moment: nothing is lost, and no other contact is written."""
    crm.create()
    await crm.find_number(crm.create(word))

    await crm.deliver()

    assert (await crm.delivery())[0] in states


async def test_own_replaces_a_number_that_we_wrote(start: Start, fake: FakeProvider) -> None:
    """With WRITE_BACK=own a newer number of ours replaces the older one, and a person's never."""
    fake.questions.extend([FOUND, found("+1-555-123-9999")])
    async with crm_world(start, write_back="own") as crm:
        record, other = crm.create(), crm.create()
        for one in (record, other):
            await crm.pool.execute("UPDATE jobs SET due_at = now()")
            await crm.find_number(one)
        await crm.deliver()
        lookups = await crm.pool.fetch("SELECT id, mobile FROM lookups ORDER BY id")
        crm.edit(other, mobilephone=THEIRS)
        # Another number is found for both.
        await crm.pool.execute("UPDATE lookups SET mobile = '+15551230000'")
        await crm.pool.execute(
            "UPDATE deliveries SET state = 'queued', ended_at = NULL, reason = NULL WHERE lookup_id = ANY($1)",
            [row["id"] for row in lookups],
        )

        await crm.deliver()

        assert crm.value(record) == "+15551230000"
        assert crm.value(other) == THEIRS


def revoked(token: Token, *, yes: bool) -> Token:
    """Return the token, revoked or not."""
    return replace(token, revoked=yes)


async def test_numbers_wait_while_the_token_is_revoked_and_go_on_by_themselves(crm: CrmWorld) -> None:
    """A refused token pauses HubSpot and costs no try; its free call shows that it is well again."""
    record = crm.create()
    await crm.find_number(record)
    token = crm.account.tokens["hs_sandbox"]
    crm.account.tokens["hs_sandbox"] = revoked(token, yes=True)

    await crm.deliver()
    assert await crm.deliver() == 0  # while it is paused nothing is claimed
    (waiting,) = await crm.deliveries()
    reason = await crm.pool.fetchval("SELECT paused_reason FROM providers WHERE name = 'hubspot'")
    await crm.pool.execute("UPDATE providers SET check_at = now() WHERE name = 'hubspot'")
    await crm.duties.look_after()
    still = await crm.pool.fetchval("SELECT paused_reason FROM providers WHERE name = 'hubspot'")
    crm.account.tokens["hs_sandbox"] = revoked(token, yes=False)
    await crm.pool.execute("UPDATE providers SET check_at = now() WHERE name = 'hubspot'")
    await crm.duties.look_after()
    await crm.deliver()

    assert (waiting["status"], waiting["tries"]) == ("queued", 0)
    assert "HUBSPOT_ACCESS_TOKEN" in reason
    assert still is not None
    assert crm.value(record) == MOBILE


async def test_a_missing_scope_pauses_and_is_named(crm: CrmWorld) -> None:
    """403: the reason of the pause names the scope, and the number waits without a try."""
    await crm.find_number(crm.create("403"))

    await crm.deliver()

    reason = await crm.pool.fetchval("SELECT paused_reason FROM providers WHERE name = 'hubspot'")
    assert "crm.objects.contacts.write" in reason
    (delivery,) = await crm.deliveries()
    assert (delivery["status"], delivery["tries"]) == ("queued", 0)


async def test_a_delivery_of_a_silent_process_is_sent_by_another(crm: CrmWorld) -> None:
    """A lease that ran out: the next try reads first, so the number is on the contact once."""
    record = crm.create()
    lookup_id = await crm.find_number(record)
    crm.edit(record, mobilephone="")
    await crm.pool.execute(
        """
        UPDATE deliveries SET state = 'sending', attempt = 1, lease_expires_at = now() - interval '1 s'
         WHERE lookup_id = $1
        """,
        lookup_id,
    )

    assert await crm.duties.rescue() == 1
    await crm.deliver()

    assert await crm.delivery() == ("delivered", None)
    assert crm.written_by_us() == [MOBILE]
    assert crm.wakes == 2  # one for the lookup, one for the rescue


async def test_nothing_is_delivered_when_write_back_is_off(start: Start, fake: FakeProvider) -> None:
    """WRITE_BACK=off: no delivery exists, and those of before are skipped."""
    fake.questions.append(FOUND)
    async with crm_world(start, write_back="off") as crm:
        record = crm.create()
        lookup_id = await crm.find_number(record)
        assert await crm.deliveries() == []
        await crm.pool.execute(
            "INSERT INTO deliveries (id, lookup_id, channel) VALUES (new_id(), $1, 'hubspot')", lookup_id
        )

        await crm.deliver()

        assert await crm.delivery() == ("skipped", "WRITE_BACK=off")
        assert crm.value(record) is None


async def test_a_number_that_was_suppressed_meanwhile_is_not_given(crm: CrmWorld) -> None:
    """Between the end of the lookup and the write a person may forbid the number."""
    record = crm.create()
    await crm.find_number(record)
    await crm.pool.execute(
        "INSERT INTO suppressions (id, kind, hash) VALUES (new_id(), 'number', $1)",
        crm.at_work.process.policy.hash("number", MOBILE),
    )

    await crm.deliver()

    assert await crm.delivery() == ("skipped", "suppressed")
    assert crm.value(record) is None


async def test_a_result_of_before_the_connection_is_not_written(crm: CrmWorld) -> None:
    """After a new connection the same id may be another account's contact, and so another person."""
    record = crm.create()
    await crm.find_number(record)
    await crm.pool.execute("UPDATE connections SET connected_at = now()")

    await crm.deliver()

    assert crm.written_by_us() == []
    state, reason = await crm.delivery()
    assert state == "skipped"
    assert str(reason).startswith("its lookup is older than the connection")
