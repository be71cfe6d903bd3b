"""One person, one charge: who leads, who follows, who takes an answer that is there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enrichment.contact import Contact
from enrichment.identity import Decision, Follow, Lead, Leader, ReusePolicy, Take, decide, key_hash, person_keys

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
POLICY = ReusePolicy(found=timedelta(days=90), not_found=timedelta(days=30))
SLUG, EMAIL, OTHER = b"slug", b"email", b"other"


def leader(number: int, *keys: bytes, ended: str | None = None, days_ago: float = 1) -> Leader:
    """A lookup that speaks for these keys; open, or *ended* so many days ago."""
    return Leader(UUID(int=number), frozenset(keys), ended, NOW - timedelta(days=days_ago) if ended else None)


def fate(keys: set[bytes], *leaders: Leader, policy: ReusePolicy = POLICY) -> Decision:
    """What a lookup with *keys* does."""
    return decide(frozenset(keys), leaders, NOW, policy)


def test_whoever_is_first_leads() -> None:
    """A person nobody speaks for is asked about."""
    assert fate({SLUG}) == Lead()


@pytest.mark.parametrize(
    ("keys", "brings_more"),
    [({EMAIL}, False), ({SLUG, EMAIL}, False), ({EMAIL, OTHER}, True)],
)
def test_the_second_follows_the_one_in_flight(keys: set[bytes], brings_more: bool) -> None:
    """It says whether it brings an identifier that the first one lacked."""
    first = leader(1, SLUG, EMAIL)

    assert fate(keys, first) == Follow(first, brings_more=brings_more)


@pytest.mark.parametrize(
    ("ended", "days_ago", "taken"),
    [
        ("found", 89.9, True),
        ("found", 90, False),
        ("not_found", 29.9, True),
        ("not_found", 30, False),
        ("unresolved", 29.9, True),
        ("unresolved", 30, False),
        ("failed", 0.1, False),
        ("cancelled", 0.1, False),
        ("suppressed", 0.1, False),
    ],
)
def test_an_answer_is_taken_again_for_its_time(ended: str, days_ago: float, taken: bool) -> None:
    """A number for 90 days, no number and doubt for 30, a failure never."""
    before = leader(1, EMAIL, ended=ended, days_ago=days_ago)

    assert fate({EMAIL}, before) == (Take(before) if taken else Lead())


@pytest.mark.parametrize("ended", ["not_found", "unresolved"])
def test_no_number_holds_only_for_the_identifiers_that_were_asked(ended: str) -> None:
    """Whoever knows more of the person than was asked may ask."""
    before = leader(1, EMAIL, ended=ended)

    assert fate({EMAIL, SLUG}, before) == Lead()


def test_a_number_holds_whatever_else_is_known() -> None:
    """A number is the person's, however the person is named."""
    before = leader(1, EMAIL, ended="found")

    assert fate({EMAIL, SLUG, OTHER}, before) == Take(before)


def test_a_number_wins_over_a_question_that_wins_over_an_old_no() -> None:
    """The best that is known decides, not the order in which it is read."""
    number, open_one, no = (
        leader(3, SLUG, ended="found"),
        leader(2, EMAIL),
        leader(1, EMAIL, ended="not_found"),
    )

    assert fate({EMAIL, SLUG}, no, open_one, number) == Take(number)
    assert fate({EMAIL}, no, open_one) == Follow(open_one, brings_more=False)


def test_of_two_in_flight_the_older_is_followed() -> None:
    """Two processes come to the same decision."""
    older, newer = leader(1, SLUG), leader(2, EMAIL)

    assert fate({SLUG, EMAIL}, newer, older) == Follow(older, brings_more=True)
    assert fate({SLUG, EMAIL}, older, newer, older) == Follow(older, brings_more=True)


def test_a_window_of_nothing_reuses_nothing() -> None:
    """REUSE_FOUND_DAYS=0 asks each time."""
    policy = ReusePolicy(found=timedelta(0), not_found=timedelta(0))

    assert fate({EMAIL}, leader(1, EMAIL, ended="found", days_ago=0), policy=policy) == Lead()
    assert fate({EMAIL}, leader(1, EMAIL, ended="not_found", days_ago=0), policy=policy) == Lead()


leaders = st.builds(
    leader,
    st.integers(1, 9),
    st.sampled_from([SLUG, EMAIL, OTHER]),
    ended=st.sampled_from([None, "found", "not_found", "failed", "unresolved", "cancelled", "suppressed"]),
    days_ago=st.floats(0, 120),
)


@settings(max_examples=100, deadline=None, database=None)
@given(st.lists(leaders, max_size=4, unique_by=lambda one: one.id), st.randoms(use_true_random=False))
def test_the_order_in_which_leaders_are_read_does_not_matter(found: list[Leader], chance: object) -> None:
    """The same leaders lead to the same decision, however the database returns them; and it is one of theirs."""
    shuffled = list(found)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]

    decision = fate({SLUG, EMAIL}, *found)

    assert fate({SLUG, EMAIL}, *shuffled) == decision
    assert isinstance(decision, Lead) or decision.leader in found


def test_keys_are_hashes_of_identifiers() -> None:
    """The same person has the same keys; a key shows nothing of whom it stands for."""
    contact = Contact(profile_url="linkedin.com/in/janedoe", work_email="jane@acme.co", name="Jane Doe", company="Acme")

    keys = person_keys(contact)

    assert (
        keys
        == person_keys(contact)
        == {
            key_hash("person", "in:janedoe"),
            key_hash("person", "em:jane@acme.co"),
        }
    )
    assert all(len(key) == 16 for key in keys)


def test_parts_of_a_key_cannot_run_together() -> None:
    """("ab", "c") is another key than ("a", "bc")."""
    assert key_hash("ab", "c") != key_hash("a", "bc")


def test_work_and_personal_address_are_one_kind_of_key() -> None:
    """An address names the same person in whichever field a CRM keeps it."""
    assert person_keys(Contact(work_email="jane@acme.co")) == person_keys(Contact(personal_email="jane@acme.co"))
