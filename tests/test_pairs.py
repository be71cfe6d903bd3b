"""A thousand pairs of contacts that are two people, and a thousand that are one, through the real store.

The kinds are those of which CRMs' users complain: one mailbox, one family, one office, mixed records, namesakes; and
spellings, initials, fewer or more identifiers, two addresses. Contacts are as they are after reading.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

import pytest

from enrichment.contact import Contact
from enrichment.ending import Ending
from enrichment.wish import keys_of
from store.database import transaction
from store.endings import apply_endings, follow_ends
from store.intake import ingest
from tests.wishes import POLICY, event, wish

if TYPE_CHECKING:
    from tests.wishes import Pool

PAIRS = 1000
Fields: TypeAlias = dict[str, Any]
Pair: TypeAlias = tuple[Fields, Fields]
Kinds: TypeAlias = Sequence[tuple[str, Callable[[int], Pair]]]

FIRST = ("Ann", "Bob", "Cara", "Dan", "Eve", "Finn", "Gus", "Hal", "Ida", "Jon")
LAST = ("Lee", "Ray", "Smith", "Jones", "Wong", "Garcia", "Rossi", "Khan", "Olsen", "Berg")


def slug(who: str, n: int) -> str:
    """Return a profile."""
    return f"linkedin.com/in/{who}-{n}"


def member(who: int, n: int) -> str:
    """Return a profile by member id."""
    return f"linkedin.com/in/ACwAA{who}{n:033d}"


def two(n: int) -> tuple[str, str]:
    """Return two different first names."""
    one, other = random.Random(n).sample(FIRST, 2)
    return one, other


def last(n: int) -> str:
    """Return a last name."""
    return LAST[n % len(LAST)]


TWO_PEOPLE: Kinds = [
    ("one mailbox, two profiles", lambda n: (
        {"profile_url": slug("a", n), "work_email": f"team{n}@acme.co"},
        {"profile_url": slug("b", n), "work_email": f"team{n}@acme.co"})),
    ("one mailbox, two member ids", lambda n: (
        {"profile_url": member(1, n), "work_email": f"team{n}@acme.co"},
        {"profile_url": member(2, n), "work_email": f"team{n}@acme.co"})),
    ("one mailbox in another field", lambda n: (
        {"profile_url": slug("a", n), "work_email": f"team{n}@acme.co"},
        {"profile_url": slug("b", n), "personal_email": f"team{n}@acme.co", "work_email": f"b{n}@acme.co"})),
    ("one family address", lambda n: (
        {"personal_email": f"family{n}@mail.co", "name": f"{two(n)[0]} {last(n)}"},
        {"personal_email": f"family{n}@mail.co", "name": f"{two(n)[1]} {last(n)}"})),
    ("one family address, initials", lambda n: (
        {"personal_email": f"family{n}@mail.co", "name": f"{two(n)[0][0]}. {last(n)}"},
        {"personal_email": f"family{n}@mail.co", "name": f"{two(n)[1]} {last(n)}"})),
    ("father and son", lambda n: (
        {"personal_email": f"house{n}@mail.co", "name": f"{two(n)[0]} {last(n)} Jr."},
        {"personal_email": f"house{n}@mail.co", "name": f"{two(n)[0]} {last(n)} Sr."})),
    ("one office", lambda n: (
        {"work_email": f"berlin{n}@acme.co", "name": f"{two(n)[0]} {last(n)}", "company": "Acme"},
        {"work_email": f"berlin{n}@acme.co", "name": f"{two(n)[1]} {last(n + 1)}", "company": "Acme"})),
    ("a role address", lambda n: (
        {"work_email": f"info@acme{n}.co", "name": f"{two(n)[0]} {last(n)}"},
        {"work_email": f"info@acme{n}.co", "name": f"{two(n)[1]} {last(n)}"})),
    ("a role address, one profile", lambda n: (
        {"work_email": f"sales@acme{n}.co", "profile_url": slug("a", n)},
        {"work_email": f"sales@acme{n}.co"})),
    ("a role address, two profiles", lambda n: (
        {"work_email": f"office@acme{n}.co", "profile_url": slug("a", n)},
        {"work_email": f"office@acme{n}.co", "profile_url": slug("b", n)})),
    ("a mixed record", lambda n: (
        {"profile_url": slug("a", n), "work_email": f"b{n}@acme.co"},
        {"profile_url": slug("b", n), "work_email": f"b{n}@acme.co", "personal_email": f"b{n}@mail.co"})),
    ("a mixed record, the other name", lambda n: (
        {"work_email": f"b{n}@acme.co", "personal_email": f"a{n}@mail.co", "name": f"{two(n)[0]} {last(n)}"},
        {"work_email": f"b{n}@acme.co", "name": f"{two(n)[1]} {last(n + 1)}"})),
    ("namesakes at two companies", lambda n: (
        {"name": f"{two(n)[0]} {last(n)}", "company": f"Acme {n}"},
        {"name": f"{two(n)[0]} {last(n)}", "company": f"Other {n}"})),
    ("namesakes without a company", lambda n: (
        {"name": f"{two(n)[0]} {last(n)} {n}"}, {"name": f"{two(n)[0]} {last(n)} {n}"})),
    ("colleagues", lambda n: (
        {"name": f"{two(n)[0]} {last(n)}", "company": f"Firm {n}"},
        {"name": f"{two(n)[1]} {last(n)}", "company": f"Firm {n}"})),
    ("a namesake with an address", lambda n: (
        {"name": f"{two(n)[0]} {last(n)}", "company": f"House {n}", "work_email": f"a{n}@house.co"},
        {"name": f"{two(n)[0]} {last(n)}", "company": f"House {n}"})),
]  # fmt: skip

# Fewer identifiers, or the same: no provider is asked again, whatever it answered.
ONE_PERSON: Kinds = [
    ("the same", lambda n: (
        {"profile_url": slug("a", n), "work_email": f"a{n}@acme.co"},
        {"profile_url": slug("a", n), "work_email": f"a{n}@acme.co"})),
    ("no profile", lambda n: (
        {"profile_url": slug("a", n), "work_email": f"a{n}@acme.co"}, {"work_email": f"a{n}@acme.co"})),
    ("only the profile", lambda n: (
        {"profile_url": slug("a", n), "work_email": f"a{n}@acme.co"}, {"profile_url": slug("a", n)})),
    ("one of two addresses", lambda n: (
        {"work_email": f"a{n}@acme.co", "personal_email": f"a{n}@mail.co"}, {"work_email": f"a{n}@mail.co"})),
    ("two addresses, exchanged", lambda n: (
        {"work_email": f"a{n}@acme.co", "personal_email": f"a{n}@mail.co"},
        {"work_email": f"a{n}@mail.co", "personal_email": f"a{n}@acme.co"})),
    ("a name in capitals", lambda n: (
        {"work_email": f"a{n}@acme.co", "name": f"{two(n)[0]} {last(n)}"},
        {"work_email": f"a{n}@acme.co", "name": f"{two(n)[0]} {last(n)}".upper()})),
    ("accents", lambda n: (
        {"work_email": f"a{n}@acme.co", "name": f"José Müller {last(n)}"},
        {"work_email": f"a{n}@acme.co", "name": f"Jose Mueller {last(n)}"})),
    ("initials", lambda n: (
        {"work_email": f"a{n}@acme.co", "name": f"{two(n)[0]} {last(n)}"},
        {"work_email": f"a{n}@acme.co", "name": f"{two(n)[0][0]}. {last(n)}"})),
    ("a title, and the last name first", lambda n: (
        {"work_email": f"a{n}@acme.co", "name": f"{two(n)[0]} {last(n)}"},
        {"work_email": f"a{n}@acme.co", "name": f"{last(n)}, Dr. {two(n)[0]}"})),
    ("a middle name", lambda n: (
        {"work_email": f"a{n}@acme.co", "name": f"{two(n)[0]} {last(n)}"},
        {"work_email": f"a{n}@acme.co", "name": f"{two(n)[0]} {two(n)[1]} {last(n)}"})),
    ("another script", lambda n: (
        {"work_email": f"a{n}@acme.co", "name": "Ivan Petrov"},
        {"work_email": f"a{n}@acme.co", "name": "Иван Петров"})),
    ("another name at the same profile", lambda n: (
        {"profile_url": slug("a", n), "name": f"{two(n)[0]} {last(n)}"},
        {"profile_url": slug("a", n), "name": f"{two(n)[0]} {last(n + 1)}"})),
    ("another company", lambda n: (
        {"work_email": f"a{n}@acme.co", "company": "Acme"}, {"work_email": f"a{n}@acme.co", "company": "Other"})),
    ("name and company, in other case", lambda n: (
        {"name": f"José {last(n)}", "company": f"Acme {n}"}, {"name": f"JOSE {last(n)}", "company": f"ACME {n}"})),
    ("a role address, and the same name", lambda n: (
        {"work_email": f"info@acme{n}.co", "name": f"{two(n)[0]} {last(n)}"},
        {"work_email": f"info@acme{n}.co", "name": f"{two(n)[0]} {last(n)}".lower()})),
]  # fmt: skip

# More identifiers: a number is taken; without one, asking for more is no second payment for the same.
MORE_OF_ONE: Kinds = [
    ("a profile is added", lambda n: (
        {"work_email": f"a{n}@acme.co"}, {"work_email": f"a{n}@acme.co", "profile_url": slug("a", n)})),
    ("an address is added", lambda n: (
        {"profile_url": slug("a", n)}, {"profile_url": slug("a", n), "personal_email": f"a{n}@mail.co"})),
    ("a second address is added", lambda n: (
        {"work_email": f"a{n}@acme.co"}, {"work_email": f"a{n}@acme.co", "personal_email": f"a{n}@mail.co"})),
    ("a slug after a member id", lambda n: (
        {"profile_url": member(1, n), "work_email": f"a{n}@acme.co"},
        {"profile_url": slug("a", n), "work_email": f"a{n}@acme.co"})),
    ("everything is added", lambda n: (
        {"work_email": f"a{n}@acme.co", "name": f"{two(n)[0][0]}. {last(n)}"},
        {"work_email": f"a{n}@acme.co", "personal_email": f"a{n}@mail.co", "profile_url": slug("a", n),
         "name": f"{two(n)[0]} {last(n)}", "company": "Acme"})),
]  # fmt: skip


def pairs(kinds: Kinds) -> list[tuple[str, Pair]]:
    """Return PAIRS pairs, of all kinds in turn; no two pairs have anything in common."""
    return [(kinds[n % len(kinds)][0], kinds[n % len(kinds)][1](n)) for n in range(PAIRS)]


async def send(pool: Pool, contacts: Sequence[Fields]) -> list[UUID]:
    """Send these contacts in one event; return their lookups."""
    (taken,) = await ingest(pool, [event(*(wish(**fields) for fields in contacts))], POLICY)
    return [one.id for one in taken]


async def answer_all(pool: Pool, ids: Sequence[UUID], numbers: Sequence[str | None]) -> None:
    """Answer the open question of each of these lookups, and let all lookups follow."""
    rows = await pool.fetch("SELECT id, lookup_id FROM jobs WHERE lookup_id = ANY($1::uuid[])", ids)
    number_of = dict(zip(ids, numbers, strict=True))
    endings = [
        Ending(
            job_id=row["id"], state="answered", answered_by="inline", mobile=number_of[row["lookup_id"]],
            charged=Decimal(5 if number_of[row["lookup_id"]] else 0),
        )
        for row in rows
    ]  # fmt: skip
    async with transaction(pool) as connection:
        applied = await apply_endings(connection, endings, POLICY)
    await follow_ends(pool, applied.unswept, POLICY)


async def mobiles(pool: Pool, ids: Sequence[UUID]) -> list[str | None]:
    """Return the numbers of these lookups, in their order."""
    rows = {row["id"]: row["mobile"] for row in await pool.fetch("SELECT id, mobile FROM lookups")}
    return [rows[id] for id in ids]


def number(side: int, n: int) -> str:
    """Return a number that tells whose it is."""
    return f"+4474{side}{n:07d}"


@pytest.mark.parametrize("together", [False, True], ids=["one after the other", "at once"])
async def test_no_two_people_are_merged(pool: Pool, together: bool) -> None:
    """Neither is ever given the other's number: not when it is known, and not when both wait."""
    kinds, both = zip(*pairs(TWO_PEOPLE), strict=True)
    ones, others = [pair[0] for pair in both], [pair[1] for pair in both]
    theirs = [[number(side, n) for n in range(PAIRS)] for side in (1, 2)]

    if together:
        ids = await send(pool, [contact for pair in both for contact in pair])
        first, second = ids[::2], ids[1::2]
        await answer_all(pool, first, theirs[0])
    else:
        first = await send(pool, ones)
        await answer_all(pool, first, theirs[0])
        second = await send(pool, others)
    await answer_all(pool, second, theirs[1])

    merged = {
        kind for kind, mobile, own in zip(kinds, await mobiles(pool, second), theirs[1], strict=True) if mobile != own
    }
    assert merged == set()
    assert await mobiles(pool, first) == theirs[0]


@pytest.mark.parametrize("found", [True, False], ids=["a number", "no number"])
@pytest.mark.parametrize("together", [False, True], ids=["one after the other", "at once"])
async def test_no_person_is_paid_for_twice(pool: Pool, together: bool, found: bool) -> None:
    """The same person with the same or fewer identifiers costs one question of a provider."""
    kinds, both = zip(*pairs(ONE_PERSON), strict=True)
    numbers = [number(1, n) if found else None for n in range(PAIRS)]

    if together:
        ids = await send(pool, [contact for pair in both for contact in pair])
        first, second = ids[::2], ids[1::2]
        await answer_all(pool, first, numbers)
    else:
        first = await send(pool, [pair[0] for pair in both])
        await answer_all(pool, first, numbers)
        second = await send(pool, [pair[1] for pair in both])

    rows = await pool.fetch("SELECT lookup_id FROM jobs UNION ALL SELECT lookup_id FROM finished_jobs")
    asked_for = {row["lookup_id"] for row in rows}
    assert {kind for kind, id in zip(kinds, second, strict=True) if id in asked_for} == set()
    assert await mobiles(pool, second) == numbers


@pytest.mark.parametrize("together", [False, True], ids=["one after the other", "at once"])
async def test_more_of_one_person_takes_the_number(pool: Pool, together: bool) -> None:
    """A contact with more identifiers of the person takes the known number, or waits for it."""
    kinds, both = zip(*pairs(MORE_OF_ONE), strict=True)
    numbers = [number(1, n) for n in range(PAIRS)]

    if together:
        ids = await send(pool, [contact for pair in both for contact in pair])
        first, second = ids[::2], ids[1::2]
        await answer_all(pool, first, numbers)
    else:
        first = await send(pool, [pair[0] for pair in both])
        await answer_all(pool, first, numbers)
        second = await send(pool, [pair[1] for pair in both])

    given = zip(kinds, await mobiles(pool, second), numbers, strict=True)
    assert {kind for kind, mobile, known in given if mobile != known} == set()
    assert await pool.fetchval("SELECT count(*) FROM finished_jobs") == PAIRS


async def test_without_a_number_more_is_asked_once(pool: Pool) -> None:
    """Each identifier that is new is worth one more question; after it, both contacts are covered."""
    _, both = zip(*pairs(MORE_OF_ONE), strict=True)
    nothing = [None] * PAIRS
    await answer_all(pool, await send(pool, [pair[0] for pair in both]), nothing)

    await answer_all(pool, await send(pool, [pair[1] for pair in both]), nothing)
    await send(pool, [contact for pair in both for contact in pair])

    assert await pool.fetchval("SELECT count(*) FROM finished_jobs") == 2 * PAIRS
    assert await pool.fetchval("SELECT count(*) FROM jobs") == 0


@pytest.mark.parametrize("kind", [kind for kind in TWO_PEOPLE if kind[0].startswith("a role address")])
def test_role_addresses_are_known_by_name(kind: tuple[str, Callable[[int], Pair]]) -> None:
    """Of these kinds the address alone tells that it is shared."""
    assert not any(keys_of(Contact(**contact), None, POLICY.hash).emails for contact in kind[1](1))
