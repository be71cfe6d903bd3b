"""The contacts that appear in the demo's HubSpot, with words in their identifiers that say what the sandbox does."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from console.demo.cast import COMPANIES, FIRST, LAST

CONTACTS = 30

# What happens to most contacts, and to how many.
USUAL = {"lm-found": 45, "lm-none--ny-found": 35, "lm-none--ny-none": 10, "": 10}
# What happens to some contacts, and its name in the table; see `python -m sandbox hubspot --help`.
UNUSUAL = {
    "hs-silent--lm-found": "no webhook: found by the sweep",
    "hs-silent--lm-none--ny-found": "no webhook: found by the sweep",
    "hs-double--lm-none--ny-found": "two webhooks",
    "hs-lostwrite--lm-found": "HubSpot's answer was lost: not written twice",
    "hs-500write--lm-none--ny-found": "HubSpot failed: written at the second try",
    "hs-human--lm-found": "a person wrote at the same time",
}
BESIDE = "hs-human--lm-found"
HAD_NUMBER = 2  # of them have a mobile number already
HAD = "has a number already"


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact to create, and what is unusual about it."""

    properties: Mapping[str, str]
    remark: str = ""

    @property
    def name(self) -> str:
        return f"{self.properties['firstname']} {self.properties['lastname']}"


def invent_contacts(seed: int) -> list[Contact]:
    """Invent CONTACTS contacts in the order in which they are created, the same for the same *seed*."""
    dice = random.Random(f"contacts {seed}")  # noqa: S311  a play, no secret
    words = dice.choices(list(USUAL), list(USUAL.values()), k=CONTACTS - len(UNUSUAL) - HAD_NUMBER)
    names = dice.sample(list(product(FIRST, LAST)), CONTACTS)
    contacts = [_contact(name, word, dice) for name, word in zip(names, [*words, *UNUSUAL], strict=False)]
    contacts += [_with_number(number, name, dice) for number, name in enumerate(names[-HAD_NUMBER:])]
    dice.shuffle(contacts)
    return contacts


def _contact(name: tuple[str, str], word: str, dice: random.Random) -> Contact:
    """Return a contact whose e-mail address or profile carries the *word*."""
    first, last, company = *name, dice.choice(COMPANIES)
    handle = "--".join(filter(None, (f"{first}-{last}-hs".lower(), word)))
    properties = {"firstname": first, "lastname": last, "company": company, "country": "United States"}
    if dice.random() < 0.5:
        properties["email"] = f"{handle}@{company.lower()}.test"
    else:
        properties["hs_linkedin_url"] = f"https://www.linkedin.com/in/{handle}"
    return Contact(properties, UNUSUAL.get(word, ""))


def _with_number(number: int, name: tuple[str, str], dice: random.Random) -> Contact:
    """Return a contact that has a mobile number from the start."""
    return Contact({**_contact(name, "lm-found", dice).properties, "mobilephone": f"+1415555{number:04d}"}, HAD)
