"""What a seed chooses besides the faults: how HubSpot is written to, and how often it is walked over."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

import aiohttp
from pydantic import SecretStr

from chaos.database import session
from chaos.pair import Pair
from enrichment.crms.hubspot import HubSpot
from rig.postgres import Postgres
from rig.ready import until_answers
from rig.settings import HUBSPOT_TOKEN

READY_WITHIN = 40.0  # seconds


@dataclass(frozen=True, slots=True)
class Variant:
    """*own*: WRITE_BACK=own, with properties of our own on contacts. *nights*: the walk is due again and again."""

    own: bool
    nights: bool

    @classmethod
    def of(cls, seed: int) -> Variant:
        """Draw the variant of a seed."""
        dice = random.Random(f"variant {seed}")
        return cls(own=dice.random() < 0.5, nights=dice.random() < 0.5)

    @property
    def write_back(self) -> str:
        """Return the setting."""
        return "own" if self.own else "if_empty"

    def words(self) -> str:
        """Say it for the report."""
        walk = "walked again and again" if self.nights else "walked once"
        return f"WRITE_BACK={self.write_back}{', own properties' if self.own else ''}; HubSpot is {walk}"


async def create_properties(url: str, postgres: Postgres | Pair) -> None:
    """Create our properties in the account at *url*, and connect it as `ringback connect` does."""
    crm = HubSpot(access_token=SecretStr(HUBSPOT_TOKEN), base_url=url)
    async with asyncio.timeout(READY_WITHIN), aiohttp.ClientSession() as client:
        await until_answers(client, [f"{url}/sandbox/stats"])
        for request in crm.create_properties():
            async with client.request(
                request.method, request.url, json=request.body, headers=request.headers
            ) as answer:
                answer.raise_for_status()
    connection = await session(postgres)
    try:
        await connection.execute(
            """INSERT INTO connections (crm, learned) VALUES ('hubspot', '{"own_properties": true}')"""
        )
    finally:
        await connection.close(timeout=5)
