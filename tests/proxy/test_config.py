"""The settings of the proxy."""

import math
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import proxy
from hosting.addresses import split_address, split_addresses
from proxy.config import LARGEST_FRAME, LONGEST_CALL

# The least value of each number, and a lower one.
LEAST: dict[str, tuple[float, float]] = {
    "port": (0, -1),
    "connections": (1, 0),
    "handshake_seconds": (0.001, 0),
    "frame_bytes": (1, 0),
    "rooms_per_connection": (1, 0),
    "users_per_connection": (1, 0),
    "mailbox_bytes": (1, 0),
    "replay_messages": (0, -1),
    "hold_seconds": (0, -0.1),
    "hold_bytes": (1, 0),
    "call_seconds": (0.001, 0),
    "heartbeat_seconds": (0.001, 0),
    "upstream_heartbeat_seconds": (0.001, 0),
    "upstream_recycle_seconds": (0, -0.1),
    "drain_seconds": (0, -0.1),
}


def config(**settings: Any) -> proxy.Config:
    return proxy.Config(**settings)


def test_numbers_have_a_least_value() -> None:
    numbers = {each.name for each in fields(proxy.Config) if each.type in {int, float}}
    assert numbers == set(LEAST)


def test_defaults_match_the_contract() -> None:
    assert (proxy.Config().host, proxy.Config().port) == ("localhost", 8080)
    assert proxy.Config().upstream == "127.0.0.1:50051"
    assert proxy.Config().mailbox_bytes == 1024 * 1024


@pytest.mark.parametrize(
    ("name", "fits", "wrong"),
    [
        *((name, *each) for name, each in LEAST.items()),
        ("frame_bytes", LARGEST_FRAME, LARGEST_FRAME + 1),
        ("call_seconds", LONGEST_CALL, LONGEST_CALL + 1),
        ("port", 65535, 65536),
        ("host", "localhost", ""),
    ],
)
def test_outermost_value_is_accepted(name: str, fits: object, wrong: object) -> None:
    assert getattr(config(**{name: fits}), name) == fits
    with pytest.raises(ValueError, match=name.replace("_", "-")):
        config(**{name: wrong})


@pytest.mark.parametrize("name", [name for name in LEAST if name.endswith("_seconds")])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_infinite_time_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name.replace("_", "-")):
        config(**{name: value})


@pytest.mark.parametrize("host", ["a..b", "x" * 64, "a\0"])
def test_malformed_host_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="host must be an address or a name"):
        config(host=host)
    with pytest.raises(ValueError, match="upstream must be HOST:PORT"):
        config(upstream=f"{host}:1")


def test_config_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        proxy.Config().port = 1  # type: ignore[misc]  # which is the point


@given(st.from_regex(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*", fullmatch=True), st.integers(1, 65535))
def test_address_is_split(host: str, port: int) -> None:
    assert split_address(f"{host}:{port}") == (host, port)


@given(st.ip_addresses(v=6), st.integers(1, 65535))
def test_ipv6_address_is_bracketed(host: object, port: int) -> None:
    assert split_address(f"[{host}]:{port}") == (str(host), port)


NOT_ADDRESSES = [
    ":",
    "host",
    "host:",
    ":1",
    "[]:1",
    "[::1]",
    "::1:1",
    "[::1:1",
    "::1]:1",
    "host:0",
    "host:65536",
    "host:99999999999",
    "host:-1",
    "host:1.5",
    "host:²",
    "host:٣",
    "host:x",
    "http://host",
    "http://host:1",
    "host:1/",
    "user@host",
]


@pytest.mark.parametrize(
    "upstream", [*NOT_ADDRESSES, "", "host:1 ", " host:1", "a b:1", "host:1\n"]
)
def test_invalid_upstream_is_refused(upstream: str) -> None:
    with pytest.raises(ValueError, match="upstream must be HOST:PORT"):
        config(upstream=upstream)


def test_several_upstreams_are_split() -> None:
    assert split_addresses("a:1") == (("a", 1),)
    assert split_addresses("a:1,b:1,[::1]:2,a:2") == (("a", 1), ("b", 1), ("::1", 2), ("a", 2))


@pytest.mark.parametrize(
    ("upstream", "told"),
    [
        ("a:1,", "item 2 is empty"),
        (",a:1", "item 1 is empty"),
        ("a:1,,b:1", "item 2 is empty"),
        (",", "item 1 is empty"),
        ("a:1, b:1", "no space between: item 2 is ' b:1'"),
        ("a:1 ,b:1", "no space between: item 1 is 'a:1 '"),
        ("a:1,b", "item 2 is 'b'"),
        ("a,b:1", "item 1 is 'a'"),
        ("a:1;b:1", "be HOST:PORT"),
        ("a:1 b:1", "be HOST:PORT"),
        ("a:1,b:0", "item 2 is 'b:0'"),
        ("a:1,b:1,a:1", "not name a:1 twice"),
        ("a:1,A:1", "not name A:1 twice"),
        ("a:1,a:01", "not name a:01 twice"),
        ("[::1]:1,[0:0::1]:1", "not name .* twice"),
    ],
)
def test_invalid_list_of_upstreams_is_refused(upstream: str, told: str) -> None:
    with pytest.raises(ValueError, match=f"^upstream must .*{told}"):
        config(upstream=upstream)
