"""Find the client behind trusted proxies, by X-Forwarded-For or Forwarded (RFC 7239).

Each proxy appends the address that it saw, so only the right end of such a header can be believed: the entries are
walked from there, past the addresses of trusted proxies, to the first that is none. Whatever stands further left was
written by that client, who may write anything. uvicorn's own middleware does not read Forwarded, and changes the
scheme of the request.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from starlette.datastructures import Headers

from enrichment.setting_types import Network

Address = IPv4Address | IPv6Address

MOST_HOPS = 16  # proxies in a row; without a bound, one header could name trusted addresses by the thousand
LONGEST_ENTRY = 256  # characters
NOBODY = b""  # the network of a peer without an address, as on a Unix socket

_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*"?([^";]*)', re.IGNORECASE)
_WITH_PORT = re.compile(r"\[([^\]]*)\](?::\d*)?|([\d.]+):\d*")


def network_of(peer: str, headers: Headers, proxies: Sequence[Network]) -> bytes:
    """Return the network by which the client is counted: its IPv4 address, or the first 64 bits of its IPv6 one."""
    client = client_of(peer, headers, proxies)
    if client is None:
        return NOBODY
    # A customer of a provider has at least a /64, and could use each of its addresses once.
    return client.packed if isinstance(client, IPv4Address) else client.packed[:8]


def client_of(peer: str, headers: Headers, proxies: Sequence[Network]) -> Address | None:
    """Return the address of the client; None if the peer of the socket has none."""
    nearest = _read(peer)
    if nearest is None or not _is_trusted(nearest, proxies):
        return nearest
    forwarded_for, forwarded = headers.getlist("x-forwarded-for"), headers.getlist("forwarded")
    found = {_walk(nearest, _entries(forwarded_for), proxies)} if forwarded_for else set()
    if forwarded:
        found.add(_walk(nearest, [_named(entry) for entry in _entries(forwarded)], proxies))
    # A proxy sets one of them, and may pass on the other as the client wrote it. Which, we cannot know.
    return found.pop() if len(found) == 1 else nearest


def _entries(lines: Sequence[str]) -> list[str]:
    """Return the last entries of a header, the nearest first.

    Commas within quotes separate as well: else a quote that the client leaves open would hide the proxy's own entry.
    """
    entries: list[str] = []
    for line in reversed(lines):
        entries += reversed(line.rsplit(",", MOST_HOPS)[-MOST_HOPS:])
        if len(entries) >= MOST_HOPS:
            break
    return entries[:MOST_HOPS]


def _named(entry: str) -> str:
    """Return the value of `for=` in an entry of Forwarded."""
    found = _FOR.search(entry) if len(entry) <= LONGEST_ENTRY else None
    return found[1] if found else ""


def _walk(nearest: Address, entries: Sequence[str], proxies: Sequence[Network]) -> Address:
    """Follow *entries* as long as their authors are trusted; stop at what is no address, like `unknown`."""
    for entry in entries:
        further = _read(entry)
        if further is None:
            return nearest
        nearest = further
        if not _is_trusted(nearest, proxies):
            return nearest
    return nearest


def _read(text: str) -> Address | None:
    """Read an address, with a port or without. One of IPv4 that is written as IPv6 is one of IPv4."""
    text = text.strip()
    if len(text) > LONGEST_ENTRY:
        return None
    if with_port := _WITH_PORT.fullmatch(text):
        text = with_port[1] or with_port[2]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_trusted(address: Address, proxies: Sequence[Network]) -> bool:
    return any(address in network for network in proxies)
