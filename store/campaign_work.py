"""Go on with a campaign: read its file, ask its sample, quote it, ask the rest. Each step is a chunk and a commit.

The command line works on its own campaign, the reconciler on uploads. Few lookups wait at a time, so that what a CRM
sends meanwhile is asked soon.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from enrichment.campaign import RowRead, read_row
from enrichment.campaign_waits import Waiting
from enrichment.files import read_rows
from enrichment.files.columns import contact_of
from enrichment.files.table import FileProblem, Row, Table
from enrichment.providers.base import Provider
from enrichment.wish import Policy
from store import campaign_asking, campaign_reading, campaigns
from store.campaign_asking import Left, MovedOn, TooDear
from store.campaign_quotes import end, quote_sample
from store.campaigns import LIMIT_REACHED, Campaign

READ_AT_ONCE = 1000  # rows of one commit
BEGUN_AT_ONCE = 50  # rows of one commit
MOST_QUEUED = 50  # lookups of a campaign that wait to be asked
MOST_OPEN = 2000  # lookups of a campaign that have not ended
CHANGED = "the file has fewer rows than before: it was changed"


class CampaignFile:
    """The rows of a file, read forwards; from the beginning again where an earlier row is wanted.

    *check* raises FileProblem if the file has changed: rows that were read meanwhile are not used.
    """

    def __init__(
        self, path: Path, table: Table, mapping: Mapping[str, str], check: Callable[[], None] = lambda: None
    ) -> None:
        self.path = path
        self.table = table
        self._mapping = dict(mapping)
        self._check = check
        self._rows: Iterator[Row] = iter(())
        self._at = -1  # the number of the last row that was read; -1: not begun

    def after(self, number: int, limit: int) -> list[tuple[int, dict[str, str]]]:
        """Return the contacts of up to *limit* rows after row *number*. Raise FileProblem or OSError."""
        return self._checked(range(number + 1, number + 1 + limit))

    def pick(self, numbers: Sequence[int]) -> list[tuple[int, dict[str, str]]]:
        """Return the contacts of these rows, in order. Raise FileProblem, also if one is not there, or OSError."""
        picked = self._checked(numbers)
        if len(picked) < len(numbers):
            raise FileProblem(CHANGED)
        return picked

    def _checked(self, numbers: Sequence[int]) -> list[tuple[int, dict[str, str]]]:
        picked = list(self._pick(numbers))
        self._check()
        return picked

    def _pick(self, numbers: Sequence[int]) -> Iterator[tuple[int, dict[str, str]]]:
        if numbers[0] <= self._at or self._at < 0:
            self._rows, self._at = read_rows(self.path, self.table), 0
        wanted = iter(numbers)
        number = next(wanted)
        for row in self._rows:
            self._at = row.number
            if row.number == number:
                yield number, contact_of(row, self.table, self._mapping)
                if (number := next(wanted, 0)) == 0:
                    return


@dataclass(frozen=True, slots=True)
class Step:
    """What a step has done. *moved*: the campaign has come further; *waiting*: its open lookups before the step."""

    moved: bool
    waiting: tuple[Waiting, ...] = ()


class CampaignWork:
    """The work on one campaign. Without a *file*, lookups are only seen to their end."""

    def __init__(
        self, pool: asyncpg.Pool[Any], id: UUID, file: CampaignFile | None, policy: Policy,
        providers: Mapping[str, Provider],
    ) -> None:  # fmt: skip
        self._pool = pool
        self._id = id
        self._file = file
        self._policy = policy
        self._providers = providers

    async def advance(self) -> Step:
        """Take the next step. A file that cannot be read any more stops the campaign, and says why."""
        settled = await campaign_asking.settle(self._pool, self._id)
        campaign = await campaigns.find(self._pool, self._id)
        if campaign is None:
            return Step(moved=False)
        try:
            step = await self._advance(campaign)
        except FileProblem as problem:
            return Step(await campaigns.stop(self._pool, self._id, str(problem)))
        except OSError as error:
            reason = f"the file cannot be read: {error.strerror or type(error).__name__}"
            return Step(await campaigns.stop(self._pool, self._id, reason))
        return Step(step.moved or settled > 0, step.waiting)

    async def _advance(self, campaign: Campaign) -> Step:
        match campaign.state:
            case "reading" if self._file is not None:
                return Step(await self._read(campaign, self._file))
            case "sampling" | "running":
                waiting = await campaign_asking.waiting(self._pool, self._id, self._policy.guards.prices)
                begun = self._file is not None and await self._begin(campaign, waiting, self._file)
                return Step(begun or await self._end(campaign), tuple(waiting))
            case _:
                return Step(moved=False)

    async def _read(self, campaign: Campaign, file: CampaignFile) -> bool:
        rows = await asyncio.to_thread(lambda: self._rows(file.after(campaign.read_to, READ_AT_ONCE)))
        if not rows:
            return await campaign_reading.end_reading(self._pool, self._id)
        return await campaign_reading.record(self._pool, self._id, campaign.read_to, rows, self._policy)

    async def _end(self, campaign: Campaign) -> bool:
        if campaign.state == "sampling":
            return await quote_sample(self._pool, campaign)
        return await end(self._pool, self._id)

    async def wants_rows(self, campaign: Campaign) -> bool:
        """Tell whether the next step of *campaign* reads its file."""
        if campaign.state not in ("sampling", "running"):
            return True
        waiting = await campaign_asking.waiting(self._pool, self._id, self._policy.guards.prices)
        is_sampling = campaign.state == "sampling"
        return _room(waiting) > 0 and bool(await campaign_asking.left(self._pool, self._id, 1, sampled=is_sampling))

    async def _begin(self, campaign: Campaign, waiting: Sequence[Waiting], file: CampaignFile) -> bool:
        """Begin the next rows, as many as may wait and as the approved credits cover."""
        is_open = sum(one.lookups for one in waiting)
        room = _room(waiting)
        if room <= 0:
            return False
        left = await campaign_asking.left(self._pool, self._id, room, sampled=campaign.state == "sampling")
        if not left:
            return False
        covered = _covered(left, _credits_left(campaign, waiting))
        if covered and await self._begin_some([one.number for one in covered], file):
            return True
        # What is open may yet cost less than it could.
        return not is_open and await campaigns.stop(self._pool, self._id, LIMIT_REACHED)

    async def _begin_some(self, numbers: Sequence[int], file: CampaignFile) -> bool:
        """Begin these rows, or the first of them alone. Return False if even that could cost too much."""
        rows = await asyncio.to_thread(lambda: self._rows(file.pick(numbers)))
        if spoilt := [row for row in rows if row.wish is None]:
            await campaign_reading.spoil(self._pool, self._id, spoilt)
            return True
        for some in (rows, rows[:1]):
            try:
                await campaign_asking.begin(self._pool, self._id, some, self._policy)
            except MovedOn:
                return True
            except TooDear:
                continue
            return True
        return False

    def _rows(self, given: Sequence[tuple[int, dict[str, str]]]) -> list[RowRead]:
        return [read_row(self._id, number, one, self._providers, self._policy.hash) for number, one in given]


def _room(waiting: Sequence[Waiting]) -> int:
    """Return how many more lookups may be begun at once, beside those that wait; none if it is not positive."""
    is_open = sum(one.lookups for one in waiting)
    queued = sum(one.lookups for one in waiting if one.state == "queued")
    return min(BEGUN_AT_ONCE, MOST_QUEUED - queued, MOST_OPEN - is_open)


def _credits_left(campaign: Campaign, waiting: Sequence[Waiting]) -> Decimal:
    return (campaign.approved_credits or Decimal(0)) - campaign.credits - sum(one.most for one in waiting)


def _covered(left: Sequence[Left], credits: Decimal) -> Sequence[Left]:
    """Return the first rows that *credits* cover together."""
    total = Decimal(0)
    for place, one in enumerate(left):
        total += one.most
        if total > credits:
            return left[:place]
    return left
