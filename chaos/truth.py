"""The truth about a person, from the sandbox's own code, and whether the running sandbox agrees."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping

from chaos.evidence import of_identifiers
from chaos.vendors import Json, Vendor
from sandbox.leadmagic import LeadMagic
from sandbox.nyne import Nyne
from sandbox.people import Person

ASKED_OVER_HTTP = 200  # people; asking about all would take as long as the run


class Truth:
    """What each vendor knows about every person."""

    def __init__(self, vendors: Mapping[str, Vendor]) -> None:
        """Take *vendors* that run with their default match rates."""
        self._vendors = vendors
        self._known = {"leadmagic": LeadMagic(), "nyne": Nyne()}

    def of(self, provider: str, subject: Person) -> Json:
        """Return found, mobile_e164 and credits: the result of one accepted question, and its cost."""
        return self._known[provider].truth(subject)

    async def lies(self, people: Iterable[Mapping[str, str | None]]) -> list[str]:
        """Return where the running sandbox differs from this about some of these *people*."""
        all_of_them = list(people)
        some = random.Random(0).sample(all_of_them, min(ASKED_OVER_HTTP, len(all_of_them)))
        found = await asyncio.gather(
            *(self._lies_about(provider, identifiers) for provider in self._known for identifiers in some)
        )
        return [lie for lie in found if lie is not None]

    async def _lies_about(self, provider: str, identifiers: Mapping[str, str | None]) -> str | None:
        given = {name: value for name, value in identifiers.items() if value is not None}
        told, known = await self._vendors[provider].truth(given), self.of(provider, of_identifiers(given))
        return None if told == known else f"{provider} says {told} about {given}, and should say {known}"
