"""A lookup's timeline: what is stored about it, as steps in the order in which they happened."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from enrichment.timeline import HELD, Step, in_order, moment_of, tell
from enrichment.trail import SHOWN, Trail
from store import audit, lookups, selections
from store.partitions import first_id
from store.timeline import read_trail
from tests.factories import delivery, finished_job, job, lookup
from tests.wishes import POLICY

if TYPE_CHECKING:
    from tests.wishes import Pool

AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


def made(moment: datetime) -> UUID:
    """An id that was made then."""
    return UUID(int=first_id(moment).int | uuid7().int & (1 << 80) - 1)


def after(seconds: float) -> datetime:
    """So long after the beginning."""
    return AT + timedelta(seconds=seconds)


async def trail_of(pool: Pool, id: UUID, *, with_bodies: bool = False) -> Trail:
    """What is stored about the lookup."""
    trail = await read_trail(pool, id, with_bodies=with_bodies)
    assert trail is not None
    return trail


async def told(pool: Pool, id: UUID) -> list[str]:
    """What the steps say."""
    return [step.what for step in tell(await trail_of(pool, id))]


def test_steps_are_in_the_order_of_their_times() -> None:
    """Those at one time stay as they came, and those to come are last, the next one first."""
    steps = [
        Step("a", "job", "a", after(2)),
        Step("b", "job", "b", None),
        Step("c", "job", "c", None, due=after(9)),
        Step("d", "job", "d", None, due=after(8)),
        Step("e", "job", "e", after(1)),
        Step("f", "job", "f", after(2)),
    ]

    assert [step.key for step in in_order(steps)] == ["e", "a", "f", "d", "c", "b"]


def test_nothing_comes_before_its_cause() -> None:
    """The clock of a process may be ahead of the server's: the effect of an effect moves, too."""
    steps = [
        Step("queued", "job", "", after(5)),
        Step("asked", "job", "", after(3), after=("queued",)),
        Step("ended", "job", "", after(4), after=("asked", "unknown")),
        Step("other", "job", "", after(4.5)),
    ]

    assert [step.key for step in in_order(steps)] == ["other", "queued", "asked", "ended"]


def test_an_id_tells_when_it_was_made() -> None:
    """To the end of its millisecond: what led to it was before."""
    assert moment_of(made(AT)) == AT + timedelta(microseconds=999)


async def test_a_lookup_is_told_from_its_event_to_its_delivery(pool: Pool) -> None:
    """Each question with what it cost, each callback with what it did, and the result."""
    row = await lookup(
        pool, id=made(AT), created_at=AT, final_status="found", finished_at=after(7),
        problems='[["work_email", "one e-mail address"]]',
    )  # fmt: skip
    await pool.execute("UPDATE events SET received_at = $1", AT)
    first = await finished_job(
        pool, "failed", id=made(after(1)), lookup_id=row["id"], provider="leadmagic", submitted_at=after(2),
        finished_at=after(3), error="HTTP 400", raw="<b>", attempt=2,
    )  # fmt: skip
    second = await finished_job(
        pool, id=made(after(3)), lookup_id=row["id"], credits=Decimal(3), submitted_at=after(4), finished_at=after(7),
        polls=2, request_id="req-1",
    )  # fmt: skip
    for body, at, verdict, flag in (
        (b"{}", after(5), "flagged", "another request"), (b"{1}", after(7), "applied", None),
    ):  # fmt: skip
        await pool.execute(
            "INSERT INTO callbacks (job_id, body_hash, provider, lookup_id, received_at, body, verdict, flag)"
            " VALUES ($1, $2, 'nyne', $3, $4, $2, $5, $6)",
            second["id"], body, row["id"], at, verdict, flag,
        )  # fmt: skip
    await delivery(
        pool, "refused", id=made(after(7)), lookup_id=row["id"], ended_at=after(9), error="HTTP 500", tries=3
    )

    trail = await trail_of(pool, row["id"])
    steps = tell(trail)

    assert [(step.what, step.why) for step in steps] == [
        ("An event of generic arrived", None),
        ("The lookup began", None),
        ("A search began for it", None),
        ("A question to leadmagic was queued", None),
        ("leadmagic was asked", "the attempts before did nothing; the last one is shown"),
        ("leadmagic refused, or said failed", "HTTP 400"),
        ("A question to nyne was queued", None),
        ("nyne was asked", None),
        ("A callback of nyne", "not applied: another request"),
        ("A callback of nyne", "applied: it ended the question"),
        ("nyne answered by callback", None),
        ("The lookup ended: found, by nyne", None),
        ("A result for webhook was written", None),
        ("webhook: refused", "HTTP 410; HTTP 500"),
    ]
    assert ("not used: work_email", "one e-mail address") in steps[1].facts
    assert steps[10].facts == (("credits", "3"), ("polls", "2"))
    assert [step.texts[0][1].size for step in steps if step.texts] == [2, 3, 2, 3]
    assert trail.questions[0].id == first["id"]


async def test_what_was_sent_is_read_only_for_who_asked(pool: Pool) -> None:
    """Its size is known before; and then it is what was sent, up to a bound, in characters that a page can hold."""
    row = await lookup(pool)
    await pool.execute("UPDATE events SET body = $1", b"\0\xff" + b"x" * SHOWN)

    before = await trail_of(pool, row["id"])
    asked = await trail_of(pool, row["id"], with_bodies=True)

    assert before.event is not None
    assert asked.event is not None
    assert (before.event.body.text, before.event.body.size) == (None, SHOWN + 2)
    assert asked.event.body.text == "\ufffd\ufffd" + "x" * (SHOWN - 2)
    assert asked.event.body.is_cut
    assert "xxx" not in repr(asked)


async def test_a_lookup_that_joined_tells_of_the_other_s_questions(pool: Pool) -> None:
    """It names the lookup that the search began for, and takes no question of that lookup's earlier searches."""
    other = await lookup(pool, id=made(AT), created_at=AT, providers=["nyne"])
    old = await lookup(pool, final_status="failed")
    await finished_job(pool, "failed", lookup_id=other["id"], search_id=old["search_id"], provider="leadmagic")
    await job(pool, "awaiting", id=made(after(1)), lookup_id=other["id"], submitted_at=after(2), due_at=after(60))
    mine = await lookup(
        pool, id=made(after(3)), created_at=after(3), search_id=other["search_id"], reused_from=other["id"]
    )
    await pool.execute("UPDATE events SET received_at = $2 WHERE id = $1", mine["event_id"], after(3))

    steps = tell(await trail_of(pool, mine["id"]))

    assert [step.what for step in steps] == [
        "A search began for",
        "A question to nyne was queued",
        "nyne was asked",
        "An event of generic arrived",
        "The lookup began",
        "It joined that search",
        "nyne has the question: a callback ends it, or a poll",
    ]
    assert steps[0].lookup == other["id"]
    assert (steps[-1].at, steps[-1].due) == (None, after(60))


async def test_an_answer_that_was_there_already_was_taken(pool: Pool) -> None:
    """The search ended before the lookup began."""
    other = await lookup(pool, id=made(AT), created_at=AT, final_status="found", finished_at=after(1))
    mine = await lookup(pool, final_status="found", search_id=other["search_id"], reused_from=other["id"])

    assert "It took that search's answer" in await told(pool, mine["id"])


@pytest.mark.parametrize("held", sorted(HELD))
async def test_a_question_that_is_held_says_why(pool: Pool, held: str) -> None:
    """And by whom it goes on."""
    row = await job(pool, held=held)

    last = tell(await trail_of(pool, row["lookup_id"]))[-1]

    assert (last.what, last.why, last.state, last.due) == ("The question to nyne waits", HELD[held], "held", None)


async def test_a_contact_is_named_and_read_before_its_lookup_begins(pool: Pool) -> None:
    """Named again later, its row says so; when it was named first is not known any more."""
    row = await lookup(pool, id=made(AT), created_at=AT, source="hubspot", record_id="151")
    await pool.execute("UPDATE events SET received_at = $1", AT)
    await pool.execute(
        """
        INSERT INTO readings (id, source, record_id, state, named_by, named_at, ended_at, lookup_id)
        VALUES ($1, 'hubspot', '151', 'done', 'sweep', $2, $3, $4)
        """,
        made(after(-1)), after(-1), AT, row["id"],
    )  # fmt: skip

    first = await told(pool, row["id"])
    await pool.execute("UPDATE readings SET state = 'queued', ended_at = NULL, named_at = $1", after(5))
    again = await told(pool, row["id"])

    assert first[:4] == [
        "The contact was named by a sweep", "It was read from hubspot", "What hubspot has of the contact was kept",
        "The lookup began",
    ]  # fmt: skip
    assert again[-3:] == [
        "The contact was named by a sweep again, after this lookup had begun", "It is read from hubspot",
        "It is decided anew in a moment",
    ]  # fmt: skip


async def test_what_people_did_is_told(pool: Pool) -> None:
    """To the lookup, to its deliveries, and in a selection that it was in; what was done to others is not."""
    row = await lookup(pool, final_status="failed")
    sent = await delivery(pool, "given_up", lookup_id=row["id"])
    await audit.record(pool, who="ann", action="reveal", subject=row["id"])
    await audit.record(pool, who="bob", action="replay", subject=sent["id"])
    await audit.record(pool, who="eve", action="reveal", subject=uuid7())
    selection = uuid7()
    await pool.execute(
        "INSERT INTO selections (id, who, action, filter, state, previewed_at)"
        " VALUES ($1, 'cy', 'retry', '{}', 'applying', now())",
        selection,
    )
    await pool.execute("INSERT INTO selected VALUES ($1, $2, true)", selection, row["id"])
    await audit.record(pool, who="cy", action="retry", subject=selection)
    assert await lookups.cancel(pool, row["id"], POLICY, who="dan")
    assert await selections.find(pool, selection)

    acts = [step for step in tell(await trail_of(pool, row["id"])) if step.kind == "person"]

    assert [step.what for step in acts] == [
        "ann looked at the number and at what was sent", "bob sent a result again", "cy tried it again",
        "dan cancelled it",
    ]  # fmt: skip
    assert acts[2].facts == (("with all of selection", str(selection)),)


async def test_a_late_answer_is_told_when_it_came(pool: Pool) -> None:
    """The question after it, and the lookup's end, stay where they were."""
    row = await lookup(pool, id=made(AT), created_at=AT, final_status="found", finished_at=after(4))
    await pool.execute("UPDATE events SET received_at = $1", AT)
    for provider, begun, ended in (("leadmagic", 1, 9), ("nyne", 2, 4)):
        await finished_job(
            pool, id=made(after(begun)), lookup_id=row["id"], provider=provider, submitted_at=after(begun + 0.5),
            finished_at=after(ended),
        )  # fmt: skip

    said = await told(pool, row["id"])

    assert said[-6:-1] == [
        "leadmagic was asked", "A question to nyne was queued", "nyne was asked", "nyne answered by callback",
        "The lookup ended: found, by nyne",
    ]  # fmt: skip
    assert said[-1] == "leadmagic answered by callback"


async def test_callbacks_beyond_those_that_are_kept_are_counted(pool: Pool) -> None:
    """They are one step, with how many came."""
    row = await job(pool, "awaiting")
    await pool.execute(
        "INSERT INTO callbacks (job_id, body_hash, provider, lookup_id, times, body, verdict, flag)"
        " VALUES ($1, '', 'nyne', $2, 1234, '', 'flagged', 'more than are kept')",
        row["id"], row["lookup_id"],
    )  # fmt: skip

    steps = tell(await trail_of(pool, row["lookup_id"]))

    (step,) = [step for step in steps if step.kind == "callback"]
    assert (step.what, step.why) == ("1,234 more callbacks of nyne", "more than are kept")


async def test_of_an_unknown_lookup_nothing_is_told(pool: Pool) -> None:
    """It may have been erased."""
    assert await read_trail(pool, uuid7()) is None


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"contacts": [{"name": "Jane"}]}', True),
        (b'{"Contacts": [{"name": "Jane"}, {"name": "Eve"}]}', False),
        ('[{"name": "Jane"}, {"name": "Eve"}]'.encode("utf-16"), False),
        (b'{"name": "Jane", "contacts": null}', True),
        (b"", True),
    ],
)
async def test_an_event_that_is_about_others_too_is_shown_to_nobody(pool: Pool, body: bytes, shown: bool) -> None:
    """Who asked to see what was sent about one person does not see what was sent about another."""
    row = await lookup(pool)
    await pool.execute("UPDATE events SET body = $1", body)

    (step,) = [step for step in tell(await trail_of(pool, row["id"], with_bodies=True)) if step.kind == "event"]

    assert bool(step.texts) is shown
    assert (step.why is None) is shown
    assert "Eve" not in repr([text.text for _, text in step.texts])
