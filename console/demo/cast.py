"""The events of the demo: invented people, with words in their identifiers that say what the sandbox does."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

FEWEST = 60  # events; with fewer, some of the parts below would be missing
OF = 200  # events, for which the numbers below are meant

# What happens to most of them, and how often.
USUAL = {
    "lm-found": 45,
    "lm-none--ny-found": 30,
    "lm-none--ny-none": 15,
    "": 39,  # no word: the dice of the two vendors decide
}
# What happens to some of them; see `python -m sandbox nyne --help`.
UNUSUAL = {
    "lm-none--ny-silent": 16,  # the callback never comes
    "lm-none--ny-lost202": 4,  # the connection breaks before the 202; the callback comes
    "lm-none--ny-early": 4,  # the callback comes before the 202
    "lm-none--ny-double": 4,  # the callback comes twice
    "lm-none--ny-forged": 4,  # a false number under a wrong token comes first
    "lm-none--ny-otherid": 3,  # the callback is about another request, with a false number
    "lm-none--ny-unreadable": 3,  # the callback is garbage
    "lm-none--ny-instant": 2,  # the 202 brings the number
    "lm-503once": 4,  # asked again
    "lm-none--ny-503once": 2,
    "lm-504--ny-found": 1,  # LeadMagic's gateway gave up: perhaps charged
    "lm-none--ny-lostcharged": 1,  # Nyne forgets that it was asked: perhaps charged
}
BY_NAME = 3  # people with only a name and a company
REPEATED = 8  # events that come twice
ELSEWHERE = 12  # people who come again, as another record

FIRST = ("Ada", "Barbara", "Claude", "Edsger", "Frances", "Grace", "Hedy", "Ivan", "Joan", "Niklaus", "Radia")
LAST = ("Bauer", "Castillo", "Dubois", "Eriksen", "Garcia", "Haddad", "Ito", "Jansen", "Kowalski", "Novak")
COMPANIES = ("Acme", "Globex", "Initech", "Umbrella", "Hooli", "Stark")
SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda slug: f"https://www.linkedin.com/in/{slug}/",
    lambda slug: f"linkedin.com/in/{slug}",
    lambda slug: f"http://de.LinkedIn.com/in/{slug}?trk=contact-info",
    lambda slug: slug,
)


@dataclass(frozen=True, slots=True)
class Cast:
    """The events in the order in which they are sent: first these, and the later ones after all of those have ended."""

    first: list[dict[str, Any]]
    later: list[dict[str, Any]]
    repeated: int  # of them are the same event again

    def __len__(self) -> int:
        return len(self.first) + len(self.later)


def invent(events: int, seed: int) -> Cast:
    """Invent this number of *events*, the same for the same *seed*."""
    dice = random.Random(seed)  # noqa: S311  a play, no secret
    share = events / OF
    repeated, elsewhere = (max(2, round(n * share)) for n in (REPEATED, ELSEWHERE))
    by_name = max(1, round(BY_NAME * share))
    words = [word for word, n in UNUSUAL.items() for _ in range(max(1, round(n * share)))]
    words += dice.choices(list(USUAL), list(USUAL.values()), k=events - len(words) - repeated - elsewhere - by_name)
    dice.shuffle(words)
    people = [_person(number, word, dice) for number, word in enumerate(words)]
    people += [_known_by_name(len(people) + number, dice) for number in range(by_name)]
    originals = [_event(number, person, dice) for number, person in enumerate(people)]
    dice.shuffle(originals)
    again = [*_again(originals, repeated, elsewhere, dice)]
    dice.shuffle(again)
    # Half of the repeated people come while the first question about them is on its way.
    at_once, later = again[: len(again) // 2], again[len(again) // 2 :]
    first = [*originals, *at_once]
    dice.shuffle(first)
    return Cast(first, later, repeated)


def _person(number: int, word: str, dice: random.Random) -> dict[str, Any]:
    """Return a person whose profile or e-mail address carries the *word*."""
    name = f"{dice.choice(FIRST)} {dice.choice(LAST)}"
    company = dice.choice(COMPANIES)
    handle = "--".join(filter(None, (f"{name.lower().replace(' ', '-')}-{number}", word)))
    known = {"name": name, "company": company}
    match dice.choices(("profile", "work", "private"), (6, 3, 1))[0]:
        case "profile":
            return known | {"profile_url": handle}
        case "work":
            return known | {"work_email": f"{handle}@{company.lower()}.test"}
        case _:
            return known | {"personal_email": f"{handle}@mail.test"}


def _known_by_name(number: int, dice: random.Random) -> dict[str, Any]:
    """Return a person with only a name and a company; only Nyne can be asked about it."""
    name = f"{dice.choice(FIRST)} {dice.choice(LAST)} {number}"
    return {"name": f"{name}--ny-{dice.choice(('found', 'none'))}", "company": dice.choice(COMPANIES)}


def _event(number: int, person: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    """Return the event in which a CRM reports a new contact."""
    return {"event_id": f"evt-{number}", "record_id": f"crm-{number}", "region": "US"} | _spelled(person, dice)


def _again(
    originals: list[dict[str, Any]], repeated: int, elsewhere: int, dice: random.Random
) -> Iterator[dict[str, Any]]:
    chosen = dice.sample(originals, repeated + elsewhere)
    yield from chosen[:repeated]
    for number, event in enumerate(chosen[repeated:]):
        yield _spelled(event, dice) | {"event_id": f"evt-again-{number}", "record_id": f"other-crm-{number}"}


def _spelled(person: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    """Return the same person, with the profile written in one of the ways people write it."""
    profile = person.get("profile_url")
    if profile is None:
        return dict(person)
    slug = profile.rpartition("/in/")[2].partition("?")[0].rstrip("/")
    return person | {"profile_url": dice.choice(SPELLINGS)(slug)}
