"""A client's address behind other proxies."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from hosting.addresses import client_key, parse
from proxy.access.forwarded import TrustedProxies

NEAR = TrustedProxies(["10.0.0.0/8", "2001:db8:1::/48", "127.0.0.1"])


def forwarded(*values: str) -> CIMultiDict[str]:
    return CIMultiDict([("X-Forwarded-For", value) for value in values])


@pytest.mark.parametrize(
    ("peer", "values", "client"),
    [
        # Without a proxy in front, and from one that is not trusted, it counts for nothing.
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["10.0.0.1"], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.7, 10.0.0.1"], "203.0.113.9"),
        # Entries before the one of the last trusted proxy were written by the client.
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["1.1.1.1", "198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["10.9.9.9, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.7", "10.0.0.2, 127.0.0.1"], "198.51.100.7"),
        # An invalid address ends the chain at its writer.
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7, nonsense, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7,"], "10.0.0.1"),
        # All are trusted: the first of them.
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        # Some write ports, brackets and zones; a socket for both writes IPv4 in IPv6.
        ("10.0.0.1", ["198.51.100.7:4711"], "198.51.100.7"),
        ("10.0.0.1", ["[2001:db8:2::7]:4711"], "2001:db8:2::7"),
        ("10.0.0.1", ["2001:db8:2::7"], "2001:db8:2::7"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.7"], "198.51.100.7"),
        ("2001:db8:1::1", ["198.51.100.7"], "198.51.100.7"),
        ("fe80::1%eth0", [], "fe80::1"),
        ("", ["198.51.100.7"], ""),
    ],
)
def test_client_address_behind_proxies(peer: str, values: list[str], client: str) -> None:
    assert NEAR.client(peer, forwarded(*values)) == client


@given(
    st.ip_addresses(v=4).filter(lambda address: address not in ip_network("10.0.0.0/8")),
    st.lists(st.text(max_size=20)),
    st.lists(st.integers(0, 255).map(lambda last: f"10.0.0.{last}"), max_size=3),
)
def test_client_cannot_forge_its_address(
    client: object, forged: list[str], hops: list[str]
) -> None:
    hops = [*hops, "10.0.0.1"]
    headers = forwarded(*forged, ", ".join([str(client), *hops[:-1]]))
    trusted = TrustedProxies(["10.0.0.0/8"])
    assert trusted.client(hops[-1], headers) == str(client)


@given(st.text(max_size=30), st.lists(st.text(max_size=30)))
def test_any_header_is_survived(peer: str, values: list[str]) -> None:
    assert isinstance(NEAR.client(peer, forwarded(*values)), str)
    assert isinstance(client_key(peer), str)


def test_no_proxy_is_trusted_by_default() -> None:
    headers = CIMultiDict(
        {
            "Host": "localhost:8080",
            "X-Forwarded-For": "198.51.100.7",
            "X-Forwarded-Host": "chat.example.org",
            "X-Forwarded-Proto": "https",
        }
    )
    for proxies, peer in ((TrustedProxies(), "127.0.0.1"), (NEAR, "203.0.113.9")):
        assert proxies.client(peer, headers) == peer
        assert proxies.host(peer, headers) == "localhost:8080"
        assert proxies.scheme(peer, headers) == ""
    assert NEAR.host("127.0.0.1", headers) == "chat.example.org"
    assert NEAR.scheme("127.0.0.1", headers) == "https"


def test_last_forwarded_value_counts() -> None:
    headers = CIMultiDict({"X-Forwarded-Host": "evil.example, chat.example.org"})
    headers.add("X-Forwarded-Proto", "http")
    headers.add("X-Forwarded-Proto", "HTTPS")
    assert NEAR.host("10.0.0.1", headers) == "chat.example.org"
    assert NEAR.scheme("10.0.0.1", headers) == "https"
    assert NEAR.host("10.0.0.1", CIMultiDict(Host="there")) == "there"


@pytest.mark.parametrize("wrong", ["10.0.0.1/8", "nonsense", "10.0.0.0/33", "1.2.3", ""])
def test_invalid_network_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="trusted-proxies"):
        TrustedProxies([wrong])


@given(st.ip_addresses())
def test_address_is_read_without_its_port(address: object) -> None:
    found = ip_address(str(address))
    mapped = found.ipv4_mapped if found.version == 6 else None
    assert parse(str(address)) == (mapped or found)
    ported = f"[{address}]:80" if found.version == 6 else f"{address}:80"
    assert parse(ported) == (mapped or found)


def test_ipv6_clients_are_counted_by_prefix() -> None:
    assert client_key("198.51.100.7") == "198.51.100.7"
    assert client_key("2001:db8::1") == client_key("2001:db8::ffff:1") == "2001:db8::/64"
    assert client_key("2001:db8:0:1::1") != client_key("2001:db8::1")
