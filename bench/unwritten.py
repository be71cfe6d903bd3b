"""python -m bench.unwritten: the receiver with the database write removed, which is the limit of its speed.

It does everything that the receiver does for a request; only the three functions that commit a batch return at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg
from uuid_utils.compat import uuid7

import receiver.queues
from receiver.__main__ import main
from store.callbacks import Callback, CallbackReceipt
from store.finish import Ended
from store.intake import Event, Receipt
from store.readings import CrmEvent


async def _not_recorded(_: asyncpg.Pool[Any], callbacks: Sequence[Callback], *__: object) -> list[CallbackReceipt]:
    search, lookup = uuid7(), uuid7()
    return [
        CallbackReceipt("applied", lookup, Ended(one.job_id, search, lookup, one.provider, "answered", "found", None))
        for one in callbacks
    ]


async def _not_ingested(_: asyncpg.Pool[Any], events: Sequence[Event], *__: object) -> list[list[Receipt]]:
    return [[Receipt(uuid7(), "queued", duplicate=False) for _ in event.wishes] for event in events]


async def _not_named(_: asyncpg.Pool[Any], events: Sequence[CrmEvent]) -> list[int]:
    return [sum(one.events for one in event.named) for event in events]


if __name__ == "__main__":
    vars(receiver.queues).update(record_callbacks=_not_recorded, ingest=_not_ingested, name_contacts=_not_named)
    main()
