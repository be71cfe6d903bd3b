"""The true identities: the people of a town, and the contacts that CRMs hold of them.

Contacts are drawn with all that CRMs get wrong: shared mailboxes, families, changed slugs, member ids, missing and
conflicting names, mixed records. Event *n* of a seed is the same in every process.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

from enrichment.contact import Contact
from enrichment.wish import Wish

FIRST = (
    "Ann",
    "Bob",
    "Cara",
    "Dan",
    "Eve",
    "Finn",
    "Gus",
    "Hal",
    "Ida",
    "Jon",
    "Kim",
    "Lea",
    "Max",
    "Nia",
    "Ole",
    "Pia",
)
LAST = ("Lee", "Ray", "Smith", "Jones", "Wong", "Garcia", "Novák", "Müller", "Rossi", "Kim", "Silva", "Khan", "Olsen")
WISHES = [("leadmagic", "nyne"), ("nyne",), ("leadmagic",), ("nyne", "leadmagic")]


@dataclass(frozen=True, slots=True)
class Human:
    """One person, and everything that may stand in a CRM about them."""

    id: int
    slugs: tuple[str, ...]
    member: str | None
    emails: tuple[str, ...]  # their own
    boxes: tuple[str, ...]  # shared with a family, a team, an office
    names: tuple[str, ...]
    company: str

    def number(self, provider: str) -> str:
        """Return the person's number as *provider* knows it: a British mobile that names its owner."""
        return f"+44740{1 if provider == 'leadmagic' else 2}{self.id:06d}"


def human_of(number: str) -> int:
    """Return the owner of this number."""
    return int(number[-6:])


@dataclass(frozen=True)
class Town:
    """The people of one seed; some of them are in every CRM, most in few."""

    seed: int
    size: int

    @cached_property
    def humans(self) -> list[Human]:
        """Return the people of the town."""
        chance = random.Random(f"town {self.seed}")
        return [_human(id, self.size, chance) for id in range(self.size)]

    @cached_property
    def holders(self) -> dict[str, list[int]]:
        """Return the holders of each identifier."""
        holders: dict[str, list[int]] = defaultdict(list)
        for human in self.humans:
            for slug in filter(None, (*human.slugs, human.member)):
                holders[f"linkedin.com/in/{slug}"].append(human.id)
            for email in human.emails + human.boxes:
                holders[email].append(human.id)
        return holders

    def wish(self, number: int) -> Wish:
        """Return the wish of event *number*; its record id names the person.

        Of forty events, ten in a row are of one contact, as when a CRM imports a list again and again.
        """
        one_of_ten = number - number % 10 if number % 40 < 10 else number
        chance = random.Random(f"event {self.seed} {one_of_ten}")
        human = self.humans[min(int(chance.expovariate(5 / self.size)), self.size - 1)]
        return Wish(
            self._contact(human, chance),
            chance.choices(WISHES, [8, 1, 1, 1])[0],
            record_id=f"{human.id}:{number}",
            event_id=f"event-{number}" if chance.random() < 0.7 else None,
            fingerprint=f"content {number}",
        )

    def _contact(self, human: Human, chance: random.Random) -> Contact:
        kind, profile = chance.random(), chance.random()
        slug = chance.choice(human.slugs) if profile < 0.5 else None
        if profile < 0.65:
            slug = slug or human.member
        addresses = human.emails + human.boxes
        emails = chance.sample(addresses, k=min(chance.choice((0, 1, 1, 2)), len(addresses)))
        name = chance.choice(human.names) if chance.random() < 0.6 else None
        if kind < 0.04:  # a mixed record
            emails = [*emails, chance.choice(chance.choice(self.humans).emails)][-2:]
        if kind > 0.95:  # a name is all there is
            slug, emails = None, []
        if not slug and not emails:
            name = name or chance.choice(human.names)
        work, personal = [*emails, None, None][:2]
        return Contact(
            profile_url=f"linkedin.com/in/{slug}" if slug else None,
            work_email=work,
            personal_email=personal if personal != work else None,
            name=name,
            company=human.company if chance.random() < 0.7 else None,
            region="GB" if chance.random() < 0.2 else None,
        )


def identifiers(contact: Contact) -> list[str]:
    """Return the identifiers that a vendor may use."""
    return [text for text in (contact.profile_url, contact.work_email, contact.personal_email) if text]


def _human(id: int, size: int, chance: random.Random) -> Human:
    first, last = chance.choice(FIRST), chance.choice(LAST)
    names = [f"{first} {last}", f"{first[0]}. {last}", first]
    if chance.random() < 0.15:  # married
        names.append(f"{first} {chance.choice(LAST)}")
    if chance.random() < 0.03:  # a typist's mistake
        names.append(f"{chance.choice(FIRST)} {chance.choice(LAST)}")
    box = chance.randrange(max(1, size // 6))
    return Human(
        id=id,
        slugs=(f"s{id}", f"s{id}-new") if chance.random() < 0.1 else (f"s{id}",),
        member=f"ACwAA{id:034d}" if chance.random() < 0.3 else None,
        emails=tuple(f"h{id}-{n}@mail.co" for n in range(chance.choice((1, 1, 2, 3)))),
        boxes=(f"team-{box}@acme.co",) if chance.random() < 0.4 else (),
        names=tuple(names),
        company=f"company {id % 40}",
    )
