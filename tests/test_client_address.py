"""Who the client is, behind proxies that are trusted and headers that are not."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from enrichment.settings import Settings, SettingsError
from receiver.client_address import client_of, network_of

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("192.0.2.9/32"), ip_network("fd00::/8"))
PEER = "10.0.0.1"


def headers(*lines: tuple[str, str]) -> Headers:
    """Headers in this order."""
    return Headers(raw=[(name.encode(), value.encode("latin-1")) for name, value in lines])


def client(*lines: tuple[str, str], peer: str = PEER) -> str:
    """The address of the client, as text."""
    return str(client_of(peer, headers(*lines), TRUSTED))


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("203.0.113.5", "203.0.113.5"),
        (" 203.0.113.5 ", "203.0.113.5"),
        ("203.0.113.5:4711", "203.0.113.5"),
        ("2001:db8::5", "2001:db8::5"),
        ("[2001:db8::5]", "2001:db8::5"),
        ("[2001:db8::5]:4711", "2001:db8::5"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
        ("8.8.8.8, 203.0.113.5", "203.0.113.5"),
        ("8.8.8.8, 203.0.113.5, 10.1.1.1, 192.0.2.9", "203.0.113.5"),
        ("203.0.113.5, fd00::1", "203.0.113.5"),
        ("10.0.0.9", "10.0.0.9"),
        ("10.0.0.8, 10.0.0.9", "10.0.0.8"),
        ("unknown", PEER),
        ("203.0.113.5, unknown", PEER),
        ("203.0.113.5, unknown, 10.0.0.7", "10.0.0.7"),
        ("203.0.113.5,", PEER),
        ("", PEER),
        ("203.0.113.5/24", PEER),
        ("0203.0.113.5", PEER),
        ("1" * 5000, PEER),
    ],
)
def test_the_first_address_from_the_right_that_is_not_trusted(forwarded: str, expected: str) -> None:
    """Past the trusted ones; where an entry is no address, the last that was one counts."""
    assert client(("x-forwarded-for", forwarded)) == expected


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("for=203.0.113.5", "203.0.113.5"),
        ('For="[2001:db8::5]:4711"', "2001:db8::5"),
        ('proto=https;for="203.0.113.5:80";by=10.0.0.1', "203.0.113.5"),
        ("for=8.8.8.8, for=203.0.113.5, for=10.1.1.1", "203.0.113.5"),
        ('for="8.8.8.8, for=203.0.113.5', "203.0.113.5"),
        ("for=_hidden", PEER),
        ("for=unknown", PEER),
        ("by=203.0.113.5", PEER),
        ("host=for=203.0.113.5", PEER),
        ("203.0.113.5", PEER),
    ],
)
def test_forwarded_is_read_as_well(forwarded: str, expected: str) -> None:
    """RFC 7239; a quote that the client left open hides nothing that the proxy wrote."""
    assert client(("forwarded", forwarded)) == expected


def test_a_header_may_come_in_several_lines() -> None:
    """A proxy may add a line of its own instead of lengthening the client's."""
    assert client(("x-forwarded-for", "8.8.8.8"), ("x-forwarded-for", "203.0.113.5, 10.0.0.2")) == "203.0.113.5"


@pytest.mark.parametrize(
    ("forwarded_for", "forwarded", "expected"),
    [
        ("203.0.113.5", "for=203.0.113.5", "203.0.113.5"),
        ("203.0.113.5", "for=8.8.8.8", PEER),
        ("8.8.8.8", "for=203.0.113.5", PEER),
    ],
)
def test_two_headers_that_differ_are_not_believed(forwarded_for: str, forwarded: str, expected: str) -> None:
    """The proxy wrote one of them, and the client perhaps the other: then they count as the proxy's own."""
    assert client(("x-forwarded-for", forwarded_for), ("forwarded", forwarded)) == expected


@pytest.mark.parametrize("peer", ["203.0.113.1", "::ffff:203.0.113.1", "172.16.0.1", "fe80::1%eth0"])
def test_a_peer_that_is_not_trusted_is_the_client(peer: str) -> None:
    """Whatever it says about others."""
    assert client(("x-forwarded-for", "8.8.8.8"), ("forwarded", "for=8.8.8.8"), peer=peer) == client(peer=peer)
    assert "8.8.8.8" not in client(("x-forwarded-for", "8.8.8.8"), peer=peer)


def test_a_dual_stack_socket_knows_the_proxy_by_its_ipv4_address() -> None:
    """With HOST=:: an IPv4 peer is written as IPv6."""
    assert client(("x-forwarded-for", "203.0.113.5"), peer="::ffff:10.0.0.1") == "203.0.113.5"


def test_a_long_chain_of_trusted_addresses_is_not_followed_for_ever() -> None:
    """A client could name trusted addresses by the thousand."""
    assert client(("x-forwarded-for", "203.0.113.5" + ", 10.0.0.2" * 5000)) == "10.0.0.2"


def test_an_ipv6_network_counts_as_one() -> None:
    """Its owner has all addresses of the /64; IPv4 addresses count one by one."""
    networks = [network_of(peer, headers(), ()) for peer in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")]
    alone = [network_of(peer, headers(), ()) for peer in ("203.0.113.5", "203.0.113.6", "::ffff:203.0.113.5", "")]

    assert networks[0] == networks[1] != networks[2]
    assert alone[0] == alone[2] != alone[1]
    assert alone[3] == b""


TEXTS = st.text(st.characters(max_codepoint=255))
NAMES = st.sampled_from(["x-forwarded-for", "forwarded"])


@given(st.lists(st.tuples(NAMES, TEXTS)))
def test_no_header_makes_it_fail(lines: list[tuple[str, str]]) -> None:
    """Whatever stands there, the answer is an address."""
    assert client(*lines) != "None"


@given(TEXTS, NAMES)
def test_what_the_client_wrote_before_the_proxy_s_entry_changes_nothing(text: str, name: str) -> None:
    """The proxy appends to the client's header; the entry of the proxy decides."""
    own = "203.0.113.5" if name == "x-forwarded-for" else "for=203.0.113.5"

    assert client((name, f"{text}, {own}")) == "203.0.113.5"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ()),
        ("10.0.0.1", ("10.0.0.1/32",)),
        ("10.0.0.0/8, fd00::/8,::1", ("10.0.0.0/8", "fd00::/8", "::1/128")),
        ('["10.0.0.1","10.0.0.2"]', ("10.0.0.1/32", "10.0.0.2/32")),
        ("::ffff:10.0.0.1, ::ffff:10.0.0.0/104", ("10.0.0.1/32", "10.0.0.0/8")),
    ],
)
def test_trusted_proxies_are_addresses_and_networks(
    environment: pytest.MonkeyPatch, value: str, expected: tuple[str, ...]
) -> None:
    """By comma, like every list."""
    environment.setenv("TRUSTED_PROXIES", value)

    assert tuple(map(str, Settings.load("receiver").trusted_proxies)) == expected


@pytest.mark.parametrize(
    "value", ["*", "proxy", "10.0.0.1/8", "10.0.0.0/33", "10.0.0", "0.0.0.0/0", "::/0", "::ffff:0:0/96", "unix"]
)
def test_a_wrong_proxy_is_named_at_the_start(environment: pytest.MonkeyPatch, value: str) -> None:
    """A slip would believe everybody, or count a whole platform as one client."""
    environment.setenv("TRUSTED_PROXIES", value)

    with pytest.raises(SettingsError, match="TRUSTED_PROXIES"):
        Settings.load("receiver")
