"""Limit requests: one that proves who it is counts against its token, any other against its address.

The limits are of this process. Signed events are exempt, because a CRM that has much to say is no attacker.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

from starlette.requests import Request

from enrichment.setting_types import Network
from receiver.client_address import network_of
from receiver.problems import Problem

MINUTE = 60.0  # seconds; a minute's requests may come at once
# Kept, of tokens or addresses; the least recently seen is dropped. A thousand take about 150 kB.
MOST_KEPT = 10_000
INEXACT = 0.001  # seconds at most that sums of floats may be off


class Rate:
    """A number of requests per minute for each key (GCRA); 0 means no limit."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._each = MINUTE / per_minute if per_minute else 0.0
        self._inexact = min(INEXACT, self._each / 2)
        self._spent_until: OrderedDict[Hashable, float] = OrderedDict()  # then the whole minute is there again

    def take(self, key: Hashable, now: float) -> float:
        """Take one request of *key* at *now*; return 0, or the seconds to wait where none is left."""
        if not self._each:
            return 0.0
        spent_until = max(self._spent_until.get(key, now), now) + self._each
        wait = spent_until - now - MINUTE
        if wait <= self._inexact:
            self._spent_until[key] = spent_until
        self._spent_until.move_to_end(key)
        if len(self._spent_until) > MOST_KEPT:
            self._spent_until.popitem(last=False)
        return wait if wait > self._inexact else 0.0

    def __len__(self) -> int:
        return len(self._spent_until)


class Access:
    """The limits of one process; *refused* is called with the kind of each refusal, and the token's name."""

    def __init__(
        self,
        *,
        token_requests: int = 0,
        address_requests: int = 0,
        proxies: Sequence[Network] = (),
        refused: Callable[[str, str], None] = lambda kind, name: None,
    ) -> None:
        self._tokens = Rate(token_requests)
        self._addresses = Rate(address_requests)
        self._proxies = proxies
        self._refused = refused

    def count_token(self, token: Hashable, name: str) -> None:
        """Count a request with a valid *token*. Raise Problem (429) over the limit."""
        if wait := self._tokens.take(token, time.monotonic()):
            self._refused("token", name)
            raise _too_many(f"The token {name!r} may send {self._tokens.per_minute:,} requests a minute", wait)

    def refusal(self, request: Request, problem: Problem) -> Problem:
        """Count a request that did not prove who it is; return *problem*, or the 429 over its address's limit."""
        if not self._addresses.per_minute:
            return problem
        network = network_of(request.client.host if request.client else "", request.headers, self._proxies)
        if not (wait := self._addresses.take(network, time.monotonic())):
            return problem
        self._refused("address", "")
        return _too_many(
            f"This address may send {self._addresses.per_minute:,} requests a minute without valid credentials", wait
        )


def _too_many(what: str, wait: float) -> Problem:
    seconds = math.ceil(wait)
    return Problem(
        429,
        f"{what}, and has sent more. Nothing was stored. Send it again in {seconds} s.",
        headers={"Retry-After": str(seconds)},
    )
