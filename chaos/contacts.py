"""The CRM's contacts: invented people in the pretend HubSpot, and what people do to their contacts."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field

from chaos.crowd import WORDS
from chaos.hubspot import GONE, HubSpot

FIRST_PERSON = 1_000_000  # far from the people of the crowd
SHARE = 0.04  # of all people; HubSpot takes 19 calls a second, and each contact costs about two
# What the sandbox does with a contact: nothing permanent, or no result could be demanded.
HS_WORDS = (
    *("hs-cut", "hs-torn", "hs-garbage", "hs-477once", "hs-500once", "hs-502once", "hs-524once", "hs-hidden"),
    *("hs-lockedonce", "hs-500write", "hs-502write", "hs-504write", "hs-lostwrite", "hs-lostbefore"),
    *("hs-garbagewrite", "hs-human", "hs-humanclears", "hs-humanafter", "hs-humandeletes", "hs-humanmerges"),
    *("hs-silent", "hs-double", "hs-redacted"),
)
SHARE_WITH_WORD = 0.3
RECENT = 6.0  # seconds: about how long the work on a new contact lasts
NEWEST = 0.7  # share of the deeds that strike a recent contact
LATER = (0.0, 1.5)  # seconds until a contact's duplicate is merged with it

Deed = Callable[["Contacts", "Contact"], Awaitable[None]]


@dataclass(slots=True)
class Contact:
    """One contact as it was created; *deed*: what was done to it, *suppressed_at*: when our API had confirmed that."""

    id: str
    person: int
    identifiers: Mapping[str, str]
    made_at: float
    deed: str | None = None
    suppressed_at: float | None = None


@dataclass(slots=True)
class Contacts:
    """The contacts of the account; creates and changes them, *rate* new ones a second."""

    hubspot: HubSpot
    seed: int
    rate: float
    made: list[Contact] = field(default_factory=list)
    _people: int = 0
    _dice: random.Random = field(init=False)
    _chance: random.Random = field(init=False)  # of deeds, apart, so that their number does not change the people

    def __post_init__(self) -> None:
        """Make the dice from the seed."""
        self._dice, self._chance = random.Random(f"contacts {self.seed}"), random.Random(f"deeds {self.seed}")

    async def run(self, seconds: float) -> None:
        """Create contacts for *seconds*, each at its time."""
        begun, at = time.monotonic(), 0.0
        async with asyncio.TaskGroup() as group:
            for person, identifiers in self._invented():
                at += self._dice.expovariate(self.rate)
                if at >= seconds:
                    return
                await asyncio.sleep(max(0.0, begun + at - time.monotonic()))
                group.create_task(self.add(person, identifiers))

    async def add(self, person: int, identifiers: Mapping[str, str]) -> Contact:
        """Create one contact."""
        at = time.time()
        one = Contact(await self.hubspot.create(_properties(identifiers)), person, identifiers, at)
        self.made.append(one)
        return one

    async def suffer(self, deed: Deed, every: float, seconds: float) -> None:
        """Do *deed* to one contact after the other, *every* few seconds for *seconds*, and to no contact twice."""
        until = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            while time.monotonic() < until:
                if (one := self._next_target()) is not None:
                    one.deed = deed.__name__
                    group.create_task(_done(deed, self, one))
                await asyncio.sleep(every)

    def pause(self) -> float:
        """Draw the seconds until a deed is completed."""
        return self._chance.uniform(*LATER)

    def _next_target(self) -> Contact | None:
        free = [one for one in self.made if one.deed is None]
        recent = [one for one in free if time.time() - one.made_at < RECENT]
        among = recent if recent and self._chance.random() < NEWEST else free
        return self._chance.choice(among) if among else None

    def _invented(self) -> Iterator[tuple[int, Mapping[str, str]]]:
        while True:
            self._people += 1
            name = f"h{self.seed}-{self._people}"
            theirs = self._dice.choice(HS_WORDS) if self._dice.random() < SHARE_WITH_WORD else None
            ours = self._dice.choice(WORDS) if self._dice.random() < SHARE_WITH_WORD / 2 else None
            slug = "--".join(filter(None, (name, theirs, ours)))
            whole = {
                "profile_url": f"https://www.linkedin.com/in/{slug}",
                "work_email": f"{slug}@hubspot.chaos.test",
                "name": f"Person {name}",
                "company": "Chaos",
            }
            left_out = self._dice.choices([None, "work_email", "profile_url"], [70, 15, 15])[0]
            yield FIRST_PERSON + self._people, {key: value for key, value in whole.items() if key != left_out}


async def _done(deed: Deed, contacts: Contacts, one: Contact) -> None:
    try:
        await deed(contacts, one)
    except GONE:
        one.deed = f"{one.deed}, in vain"


def _properties(identifiers: Mapping[str, str]) -> dict[str, str]:
    first, _, last = identifiers["name"].partition(" ")
    named = {"firstname": first, "lastname": last, "company": identifiers["company"], "country": "United States"}
    theirs = {"profile_url": "hs_linkedin_url", "work_email": "email"}
    return named | {theirs[key]: value for key, value in identifiers.items() if key in theirs}


async def write(contacts: Contacts, one: Contact) -> None:
    """Write another number, as a person."""
    await contacts.hubspot.edit(one.id, {"mobilephone": a_persons_number(one)})


async def clear(contacts: Contacts, one: Contact) -> None:
    """Clear the number; often, write one first."""
    if contacts.pause() < LATER[1] / 2:
        await contacts.hubspot.edit(one.id, {"mobilephone": a_persons_number(one)})
    await contacts.hubspot.edit(one.id, {"mobilephone": ""})


async def merge(contacts: Contacts, one: Contact) -> None:
    """Create the person a second time with fewer identifiers, and merge both contacts."""
    if "profile_url" not in one.identifiers:
        return
    less = {key: value for key, value in one.identifiers.items() if key != "work_email"}
    twin = await contacts.add(one.person, less)
    twin.deed = "merge"
    await asyncio.sleep(contacts.pause())
    await contacts.hubspot.merge(one.id, twin.id)


async def delete(contacts: Contacts, one: Contact) -> None:
    """Delete the contact."""
    await contacts.hubspot.delete(one.id)


async def erase(contacts: Contacts, one: Contact) -> None:
    """Erase the contact for good."""
    await contacts.hubspot.erase(one.id)


def a_persons_number(one: Contact) -> str:
    """Return the number that a person writes; no vendor has it."""
    return f"+1415555{int(one.id) % 10_000:04d}"
