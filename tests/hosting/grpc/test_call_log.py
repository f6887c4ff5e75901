"""The peer's address in the log."""

import pytest

from hosting.grpc.call_log import address


@pytest.mark.parametrize(
    ("peer", "text"),
    [
        (("127.0.0.1", 5), "127.0.0.1:5"),
        (("::1", 5, 0, 0), "[::1]:5"),
        ("", "unknown"),
        (None, "unknown"),
        ("/run/chat.socket", "/run/chat.socket"),
    ],
)
def test_peer_address_is_one_text(peer: object, text: str) -> None:
    assert address(peer) == text
