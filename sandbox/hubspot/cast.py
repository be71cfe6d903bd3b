"""Invented contacts: people whom LeadMagic and Nyne know by the same identifiers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

FIRST = ("Ada", "Barbara", "Claude", "Edsger", "Frances", "Grace", "Hedy", "Ivan", "Joan", "Niklaus", "Radia")
LAST = ("Bauer", "Castillo", "Dubois", "Eriksen", "Garcia", "Haddad", "Ito", "Jansen", "Kowalski", "Novak")
COMPANIES = ("Acme", "Globex", "Initech", "Umbrella", "Hooli", "Stark")
MOST = 100_000

Share = Annotated[float, Field(ge=0, le=1)]


class Wanted(BaseModel):
    """The contacts to create: one with these *properties*, or *n* invented ones that have them as well."""

    model_config = ConfigDict(extra="forbid")

    properties: dict[str, str] = Field(default_factory=dict)
    n: int = Field(0, ge=0, le=MOST)
    words: str = Field("", description="what the identifiers ask for, like lm-none--ny-found")
    with_linkedin: Share = 0.7
    with_email: Share = 0.9
    with_mobile: Share = 0

    def invent(self, dice: random.Random) -> Iterator[dict[str, str]]:
        """Invent the contacts; each has a profile, an e-mail address or both."""
        if not self.n:
            yield self.properties
        for _ in range(self.n):
            first, last, company = dice.choice(FIRST), dice.choice(LAST), dice.choice(COMPANIES)
            own = f"{first}-{last}-{dice.getrandbits(40):010x}".lower()
            slug = f"{self.words}--{own}" if self.words else own
            values = {"firstname": first, "lastname": last, "company": company}
            has_email = dice.random() < self.with_email
            if has_email:
                values["email"] = f"{slug}@{company.lower()}.test"
            if not has_email or dice.random() < self.with_linkedin:
                values["hs_linkedin_url"] = f"https://www.linkedin.com/in/{slug}"
            if dice.random() < self.with_mobile:
                values["mobilephone"] = f"+1415555{dice.randint(0, 9999):04d}"
            yield values | self.properties
