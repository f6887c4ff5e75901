"""Settings are checked when built; a wrong one is named."""

import math
from collections.abc import Callable
from typing import Any

import pytest

import chat
from chat.access.tokens import TokenRules
from hosting.grpc.limits import ConnectionLimits
from hosting.tls import TlsFiles


def test_default_addresses_match_the_contract() -> None:
    config = chat.Config()
    assert (config.host, config.port) == ("0.0.0.0", 50051)  # noqa: S104 - the contract's
    assert config.limits == chat.Limits(
        content_bytes=16 * 1024, id_length=64, rooms_per_stream=1000
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"port": 0},
        {"port": 65535},
        {"mailbox_bytes": 1, "relay_mailbox_bytes": 1, "write_queue_bytes": 1},
        {"replay_messages": 0, "drain_seconds": 0},
    ],
)
def test_settings_at_their_edges(settings: dict[str, Any]) -> None:
    chat.Config(**settings)


def test_connection_limits_at_their_edges() -> None:
    ConnectionLimits(
        connections=1,
        streams_per_connection=2**31 - 1,
        handshake_seconds=0.1,
        stall_seconds=0.1,
        heartbeat_seconds=0.1,
    )


TLS = TlsFiles("certificate", "key", "authorities")
WRONG: dict[Callable[..., object], list[tuple[dict[str, Any], str]]] = {
    chat.Config: [
        ({"host": ""}, "host must not be empty"),
        ({"port": -1}, "port must be from 0 to 65535"),
        ({"port": 65536}, "port must be from 0 to 65535"),
        ({"host": "a..b"}, "host must be an address or a name, not 'a..b'"),
        ({"database": "\udcff.db"}, "database must be Unicode text, in UTF-8"),
        ({"database": "a\0b"}, "database must not contain NUL"),
        ({"database": ""}, "database must not be empty"),
        ({"mailbox_bytes": 0}, "mailbox-bytes must be at least 1"),
        ({"relay_mailbox_bytes": 0}, "relay-mailbox-bytes must be at least 1"),
        ({"write_queue_bytes": 0}, "write-queue-bytes must be at least 1"),
        ({"replay_messages": -1}, "replay-messages must not be negative"),
        ({"drain_seconds": -0.1}, "drain-seconds must be a finite number, not negative"),
        ({"drain_seconds": math.nan}, "drain-seconds must be a finite number, not negative"),
        ({"drain_seconds": math.inf}, "drain-seconds must be a finite number, not negative"),
    ],
    ConnectionLimits: [
        ({"connections": 0}, "connections must be from 1 to 2147483647"),
        ({"streams_per_connection": 0}, "streams-per-connection must be from 1 to 2147483647"),
        ({"streams_per_connection": 2**31}, "streams-per-connection must be from 1 to 2147483647"),
        ({"handshake_seconds": 0}, "handshake-seconds must be a finite number, more than 0"),
        ({"handshake_seconds": math.inf}, "handshake-seconds must be a finite number, more than 0"),
        ({"stall_seconds": -1}, "stall-seconds must be a finite number, more than 0"),
        ({"idle_seconds": 0}, "idle-seconds must be a finite number, more than 0"),
        ({"stall_seconds": math.nan}, "stall-seconds must be a finite number, more than 0"),
        ({"heartbeat_seconds": 0}, "heartbeat-seconds must be a finite number, more than 0"),
        ({"calls_per_address": -1}, "calls-per-address must be a finite number, not negative"),
        (
            {"calls_per_address": math.inf},
            "calls-per-address must be a finite number, not negative",
        ),
    ],
    chat.Trust: [
        ({"token_keys": "\udcff"}, "token-keys must be Unicode text, in UTF-8"),
        ({"token_keys": "a\0"}, "token-keys must not contain NUL"),
        ({"proxy_names": frozenset({"\ud83d"})}, "proxy-names must be Unicode text, in UTF-8"),
        ({"tls": TlsFiles(authorities="x")}, "tls-client-ca needs a tls-certificate"),
        (
            {"proxy_names": frozenset({"edge"}), "token_keys": "x"},
            "proxy-names need a tls-client-ca",
        ),
        ({"proxy_names": frozenset({"edge"}), "tls": TLS}, "proxy-names need token-keys: .*"),
    ],
    TokenRules: [
        ({"issuer": "\ud83d"}, "token-issuer must be Unicode text, in UTF-8"),
        ({"audience": "\ud83d"}, "token-audience must be Unicode text, in UTF-8"),
        ({"leeway_seconds": -1}, "token-leeway-seconds must be a finite number, not negative"),
    ],
}


@pytest.mark.parametrize(
    ("make", "settings", "text"), [(make, *row) for make, rows in WRONG.items() for row in rows]
)
def test_wrong_setting_is_named(
    make: Callable[..., object], settings: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        make(**settings)
