"""Tell public addresses from those of our own machines and networks."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

# Addresses that a gateway turns into the IPv4 address in their last 32 bits (RFC 6052, RFC 4291 2.5.5.1, RFC 2765).
_TRANSLATED = (IPv6Network("64:ff9b::/96"), IPv6Network("::/96"), IPv6Network("::ffff:0:0:0/96"))
# Not global, or of local gateways, by IANA's registries. Older Python versions do not know all of them.
_SPECIAL: tuple[IPv4Network | IPv6Network, ...] = (
    *map(IPv4Network, ("192.0.0.0/24", "192.88.99.0/24")),
    *map(IPv6Network, ("64:ff9b:1::/48", "100::/32", "3fff::/20", "5f00::/16")),
)


def is_public(address: str) -> bool:
    """Tell whether *address* is one of the public Internet.

    Not public: private, loopback, link-local, shared (CGNAT), multicast and reserved addresses, and IPv6 addresses that
    lead to one of these.
    """
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and (inner := _inside(ip)) is not None:
        ip = inner
    if isinstance(ip, IPv6Address) and ip.is_site_local:
        return False
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _SPECIAL)


def _inside(ip: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that packets to *ip* end at."""
    if any(ip in network for network in _TRANSLATED):
        return IPv4Address(ip.packed[-4:])
    return ip.ipv4_mapped or ip.sixtofour
