"""Nights: the walk over HubSpot's contacts comes again and again, instead of once a day."""

from __future__ import annotations

import asyncio
import time

from chaos.database import let_night_fall
from chaos.faults import GONE
from chaos.pair import Pair
from rig.postgres import Postgres

EVERY = 5.0  # seconds


async def nights(postgres: Postgres | Pair, seconds: float) -> None:
    """Let the nightly walk be due again and again for so many *seconds*."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        await asyncio.sleep(EVERY)
        try:
            await let_night_fall(postgres)
        except GONE:
            continue  # PostgreSQL is away
