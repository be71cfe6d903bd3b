"""When two names may be one person's, and when two sets of facts contradict each other.

The spellings are those that CRMs hold: https://www.w3.org/International/questions/qa-personal-names
"""

from __future__ import annotations

import time

import pytest

from enrichment.facts import MOST_NAMES, Facts, contradict, fold, names_agree

ONE_PERSON = [
    ("Jane Doe", "Jane Doe"),
    ("Jane Doe", "JANE DOE"),  # case
    ("José Núñez", "jose nunez"),  # accents
    ("Søren Ørsted", "Soren Orsted"),  # letters that Unicode does not decompose
    ("Łukasz Đorđević", "Lukasz Dordevic"),
    ("Müller", "Mueller"),  # the two ways to write an umlaut
    ("Müller", "Muller"),
    ("Mu\u0308ller", "Mueller"),
    ("Jörg Großmann", "Joerg Grossmann"),
    ("Jörg Weiß", "Jorg Weiss"),
    ("Håkon Bråten", "Haakon Braaten"),
    ("Håkon Bråten", "Hakon Braten"),
    ("Søren Kjær", "Soeren Kjaer"),
    ("Özge Doe", "Ö. Doe"),
    ("Özge Doe", "O. Doe"),
    ("ＪＡＮＥ Ｄｏｅ", "Jane Doe"),  # full width
    ("Jane Doe", "Jane"),  # a word is missing
    ("Jane Doe", "Doe"),
    ("Jane Doe", "Jane Mary Doe"),
    ("Jane Doe", "J. Doe"),  # initials
    ("Jane Doe", "J Doe"),
    ("Jane Doe", "J. D."),
    ("Jane M. Doe", "Jane Mary Doe"),
    ("Jane Doe", "Doe, Jane"),  # order
    ("Anne-Marie Duval", "Anne Marie Duval"),  # hyphens
    ("Anne-Marie Duval", "A.-M. Duval"),
    ("Sean O'Brien", "Sean O’Brien"),  # apostrophes
    ("Sean O'Brien", "Sean OBrien"),
    ("Dr. Jane Doe", "Jane Doe"),  # titles
    ("Dr. Jane Doe, PhD", "Jane A. Doe"),
    ("Herr Prof. Müller", "Hans Mueller"),
    ("John Smith Jr.", "John Smith"),  # a generation that only one of them states
    ("John Smith Jr.", "John Smith, Jr"),
    ("John Smith Jr.", "John Smith Junior"),
    ("John Smith Jnr", "John Smith Jr"),
    ("John Smith Senior", "Smith Sr., John"),
    ("John Smith Snr", "J. Smith Sr"),
    ("John Smith 3rd", "John Smith III"),
    ("John Smith 2nd", "John Smith II"),
    ("John Smith 4th", "John Smith IV"),
    ("John Smith V", "John Smith"),
    ("John Smith VI", "John Smith VI"),
    ("John V. Smith", "John Victor Smith Jr."),  # an initial is no generation
    ("John V Smith", "John Smith III"),
    ("Smith John V.", "John Smith III"),
    ("Nguyen Vi", "Nguyen Thi Vi"),
    ("Carlos Junior", "Carlos Silva Junior"),
    ("Sr. Juan Pérez", "Juan Carlos Pérez"),  # Señor, before a name
    ("Sr. Juan Pérez", "Juan Pérez Jr."),
    ("Sr. Carlos Silva", "Carlos Silva Junior"),
    ("Junior Santos III", "Junior Santos III"),
    ("Иван Петров", "Ivan Petrov"),  # different scripts are not compared
    ("王伟", "Wei Wang"),
    ("Γιάννης", "ΓΙΑΝΝΗΣ"),
    ("Jane  Doe ", " Jane Doe"),
    ("", "Jane Doe"),  # no name says nothing
    ("...", "Jane Doe"),
]
TWO_PEOPLE = [
    ("Jane Doe", "Bob Ray"),
    ("Jane Doe", "John Doe"),  # a family
    ("Jane Doe", "Jane Ray"),  # a namesake
    ("Jane Doe", "R. Doe"),  # another initial
    ("Jane Doe", "J. Ray"),
    ("Jane Mary Doe", "Jane Ann Doe"),
    ("Jane Doe", "Janet Doe"),  # more than an initial is no abbreviation
    ("Ann Lee", "Anna Lee"),
    ("Jane Jane", "Jane Doe"),  # each word needs a partner of its own
    ("J. J. Doe", "Jane Doe Smith"),
    ("Иван Петров", "Пётр Иванов"),
    ("王伟", "李娜"),
    ("Dr. Doe", "Dr. Ray"),  # a title in common is nothing in common
    ("John Smith Jr.", "John Smith Sr."),  # father and son
    ("John Smith II", "John Smith III"),
    ("John Smith Junior", "John Smith Senior"),
    ("John Smith Jnr.", "John Smith Snr."),
    ("John Smith Jr", "John Smith Senior"),
    ("John Smith 2nd", "John Smith III"),
    ("John Smith 3rd", "John Smith 4th"),
    ("John Smith V", "John Smith IV"),
    ("John Smith VI", "John Smith V"),
    ("John Smith, V", "John Smith Jr."),
    ("John Smith V", "John Andrew Smith"),  # V may be an initial as well
    ("Junior Santos", "Maria Santos"),  # a first name
    ("Santos, Junior", "Santos, Maria"),
    ("Joe Smith", "Jo Smith"),  # a vowel pair is no umlaut
    ("Sue Smith", "Su Smith"),
    ("Zoe Smith", "Zo Smith"),
    ("Mae Smith", "Ma Smith"),
    ("Michael Smith", "Michal Smith"),
    ("Rafael Smith", "Rafal Smith"),
    ("Noel Smith", "Nol Smith"),
    ("Mueller", "Muller"),
    ("Isaac Smith", "Isac Smith"),
]


@pytest.mark.parametrize(("one", "other"), ONE_PERSON)
def test_spellings_of_one_name_agree(one: str, other: str) -> None:
    """Names agree when every word of the shorter occurs in the longer, whichever comes first."""
    assert names_agree(one, other)
    assert names_agree(other, one)


@pytest.mark.parametrize(("one", "other"), TWO_PEOPLE)
def test_names_of_two_people_do_not_agree(one: str, other: str) -> None:
    """A word of the shorter name that the longer lacks tells two people apart."""
    assert not names_agree(one, other)
    assert not names_agree(other, one)


SLUG, OTHER_SLUG, MEMBER, OTHER_MEMBER = b"slug", b"other slug", b"member", b"other member"


@pytest.mark.parametrize(
    ("one", "other", "contradictory"),
    [
        (Facts(), Facts(), False),
        (Facts(SLUG), Facts(SLUG), False),
        (Facts(SLUG), Facts(OTHER_SLUG), True),
        (Facts(None, MEMBER), Facts(None, OTHER_MEMBER), True),
        (Facts(SLUG), Facts(None, MEMBER), False),  # a slug and a member id may be one person's
        (Facts(SLUG, MEMBER), Facts(None, OTHER_MEMBER), True),
        (Facts(SLUG), Facts(None, None, ["Jane Doe"]), False),
        (Facts(names=["Jane Doe"]), Facts(names=["J. Doe"]), False),
        (Facts(names=["Jane Doe"]), Facts(names=["Bob Ray"]), True),
        (Facts(names=["J. Doe", "Jane Doe"]), Facts(names=["John Doe"]), True),  # one of several is enough
        (Facts(SLUG, None, ["Jane Doe"]), Facts(SLUG, None, ["Bob Ray"]), True),  # decide() knows who holds a slug
    ],
)
def test_two_slugs_two_members_or_two_names_contradict(one: Facts, other: Facts, contradictory: bool) -> None:
    """Two public slugs, two member ids, or names that do not agree are two people."""
    assert contradict(one, other) is contradictory
    assert contradict(other, one) is contradictory


def test_facts_learn_what_they_do_not_contradict() -> None:
    """The first slug and member stay; names are added while all of them agree."""
    facts = Facts(SLUG, None, ["Jane Doe"])

    assert facts.learn(Facts(OTHER_SLUG, MEMBER, ["J. Doe", "Bob Ray"]))

    assert (facts.slug, facts.member, facts.names) == (SLUG, MEMBER, ["Jane Doe", "J. Doe"])
    assert not facts.learn(Facts(SLUG, MEMBER, ["Jane Doe"]))


def test_a_search_keeps_few_names() -> None:
    """Spellings without end cost no more than eight."""
    facts = Facts()

    for number in range(20):
        facts.learn(Facts(names=["Jane Doe" + " " * number]))

    assert len(facts.names) == MOST_NAMES


@pytest.mark.parametrize(
    "name", ["a " * 128, "ä" * 255, "J. " * 85, "'" * 255, "ä " * 128, "jr v " * 50, "a\u1fefb " * 60]
)
def test_long_names_are_compared_at_once(name: str) -> None:
    """No name that a stranger sends takes noticeable time."""
    begun = time.process_time()

    names_agree(name, name[::-1])

    assert time.process_time() - begun < 0.1


def test_folding_twice_is_folding_once() -> None:
    """The folded form is one form."""
    for name in {name for pair in ONE_PERSON + TWO_PEOPLE for name in pair}:
        assert fold(fold(name)) == fold(name)
