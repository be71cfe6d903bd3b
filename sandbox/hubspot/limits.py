"""HubSpot's rate limits: an app's ten seconds, the account's searches in one second, the account's day.

https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sandbox.hubspot.answers import limited
from sandbox.limiter import Limiter
from sandbox.wire import Answer, Headers

INTERVAL = 10  # seconds
MESSAGES = {
    "TEN_SECONDLY_ROLLING": "You have reached your ten_secondly_rolling limit.",
    "SECONDLY": "You have reached your secondly limit.",
    "DAILY": "You have reached your daily limit.",
}
Now = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


class Day:
    """The account's calls of one day, all apps together; it begins at midnight of the account's zone."""

    def __init__(self, allowance: int, zone: ZoneInfo, clock: Now = utc_now) -> None:
        """Take an allowance of 0 as no limit."""
        self.allowance = allowance
        self.used = 0
        self._zone = zone
        self._clock = clock
        self._date = self._today()

    @property
    def left(self) -> int:
        """Return how many calls are left today."""
        if (today := self._today()) != self._date:
            self._date, self.used = today, 0
        return max(0, self.allowance - self.used)

    def until_midnight(self) -> float:
        """Return the seconds until the allowance is whole again."""
        now = self._clock().astimezone(self._zone)
        midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        return (midnight.astimezone(UTC) - now.astimezone(UTC)).total_seconds()

    def _today(self) -> str:
        return self._clock().astimezone(self._zone).date().isoformat()


class Limits:
    """All limits of an account. A search refused by the limit per second still counts for its app."""

    def __init__(self, per_ten_seconds: int, searches_per_second: int, day: Day) -> None:
        """Take an allowance of 0 as no limit."""
        self._per_ten_seconds = per_ten_seconds
        self._apps: dict[str, Limiter] = {}
        self._searches = Limiter([(searches_per_second, 1)], "sliding")
        self._day = day

    def spend(self, app: str, *, search: bool) -> str | None:
        """Count one request of *app*, or return the policy of the 429 that it gets."""
        if self._day.allowance and not self._day.left:
            return "DAILY"
        if not self._of(app).take().allowed:
            return "TEN_SECONDLY_ROLLING"
        if search and not self._searches.take().allowed:
            return "SECONDLY"
        self._day.used += 1
        return None

    def throttle(self, policy: str, *, retry_after: bool = False) -> Answer:
        """Return the 429 of a policy."""
        seconds = {"SECONDLY": 1, "DAILY": round(self._day.until_midnight())}.get(policy, INTERVAL)
        return limited(policy, MESSAGES[policy], seconds if retry_after else None)

    def headers(self, app: str) -> Headers:
        """Return the headers on every answer except those to searches."""
        headers: Headers = []
        if self._per_ten_seconds:
            standing = self._of(app).peek()
            headers += [
                (b"x-hubspot-ratelimit-max", b"%d" % standing.limit),
                (b"x-hubspot-ratelimit-remaining", b"%d" % standing.remaining),
                (b"x-hubspot-ratelimit-interval-milliseconds", b"%d" % (INTERVAL * 1000)),
            ]
        if self._day.allowance:
            headers += [
                (b"x-hubspot-ratelimit-daily", b"%d" % self._day.allowance),
                (b"x-hubspot-ratelimit-daily-remaining", b"%d" % self._day.left),
            ]
        return headers

    def _of(self, app: str) -> Limiter:
        if app not in self._apps:
            self._apps[app] = Limiter([(self._per_ten_seconds, INTERVAL)], "sliding")
        return self._apps[app]
