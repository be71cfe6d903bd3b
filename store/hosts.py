"""The hosts of one URL: connect to the one that takes writes now, whatever became of the others.

asyncpg tries several hosts itself, but gives all of them one timeout together, and stops at the first one that hangs
up: a host that has fallen silent, or a forwarder without a server behind it, would hide the new primary.
https://github.com/MagicStack/asyncpg/blob/v0.32.0/asyncpg/connect_utils.py
"""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg

_HOST = re.compile(r"(?P<name>\[[^\]]*\]|[^:]*)(?::(?P<port>\d+))?")
_FAILED = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class Hosts:
    """The hosts that a URL names. The one that worked last is tried first, one that failed is tried last."""

    def __init__(self, url: str) -> None:
        self._hosts = hosts_of(url)
        self._first = 0

    async def connect(self, url: str, *, timeout: float, **how: Any) -> Any:
        """Connect as asyncpg does, within *timeout* seconds. Raise what a host raised when none can be used."""
        if len(self._hosts) < 2:
            return await asyncpg.connect(url, timeout=timeout, **how)
        errors: list[Exception] = []
        for _ in self._hosts:
            number = self._first
            host, port = self._hosts[number]
            try:
                connection: Any = await asyncpg.connect(
                    url, host=host, port=port, timeout=timeout / len(self._hosts), **how
                )
            except _FAILED as error:
                errors.append(error)
                self._leave(number)
            else:
                connection.host = number
                return connection
        # What a server said explains more than a silence.
        raise next((error for error in errors if isinstance(error, asyncpg.PostgresError)), errors[-1])

    def leave(self, number: int) -> bool:
        """Try this host last, though it lives: commits hang there. Return whether there are others."""
        self._leave(number)
        return len(self._hosts) > 1

    def _leave(self, number: int) -> None:
        if self._first == number:  # else another connection has found out before
            self._first = (number + 1) % len(self._hosts)


def hosts_of(url: str) -> list[tuple[str, int | None]]:
    """Return the hosts of a URL that `read_postgres_url` has written, and the ports that it names."""
    parts = urlsplit(url)
    if authority := parts.netloc.rpartition("@")[2]:
        found = [_HOST.fullmatch(one) for one in authority.split(",")]
        return [(unquote(one["name"]).strip("[]"), int(one["port"]) if one["port"] else None) for one in found if one]
    given = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    names, ports = given.get("host", "").split(","), given.get("port", "").split(",")
    return [(name, int(port) if port else None) for name, port in zip_longest(names, ports, fillvalue="") if name]
