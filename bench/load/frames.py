"""Precomputed frames of a load client, and the bytes by which it counts received messages.

Nothing is parsed. A text of 64 bytes begins with a letter that identifies its sender
and ends in `MARK`; neither occurs anywhere else in a frame of up to 255 bytes, so
counting that byte in received data counts messages, even split ones.
"""

from __future__ import annotations

import string
from typing import Final

from bench.workloads import Workload

MARK: Final = b"!"
# T and Z occur in timestamps.
LETTERS: Final = [letter.encode() for letter in string.ascii_uppercase if letter not in "TZ"]
CONTENT_BYTES: Final = 64

# Any key (RFC 6455, section 5.3) except 0, which some servers need not unmask.
_KEY: Final = 0x37
_MASKED: Final = bytes(byte ^ _KEY for byte in range(256))
# The placeholder of a message's number.
_COUNTER: Final = "########"

PONG: Final = bytes((0x8A, 0x80)) + bytes([_KEY] * 4)
CLOSE: Final = (
    bytes((0x88, 0x82)) + bytes([_KEY] * 4) + (1000).to_bytes(2, "big").translate(_MASKED)
)


def handshake(host: str, port: int, token: str = "") -> bytes:
    """Returns the request that opens a WebSocket (RFC 6455, section 4.1)."""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    return (
        f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: bG9hZC1jbGllbnQtMDAwMA==\r\n"
        f"Sec-WebSocket-Version: 13\r\n{authorization}\r\n"
    ).encode()


def join(room_id: str) -> bytes:
    """Returns the frame that joins a room."""
    return _text_frame(f'{{"join":{{"room_id":"{room_id}"}}}}'.encode())


class Messages:
    """Creates the messages of one sender, with distinct ids.

    Args:
        tag: the prefix of its ids.
        room_id: the room that it sends to.
        number: its number among all clients.
        letter: the first letter of its texts.
        sender: the sender id; by default one of its own.
    """

    __slots__ = ("_head", "_tail", "sent")

    def __init__(
        self, tag: str, room_id: str, number: int, letter: bytes, sender: str | None = None
    ) -> None:
        self.sent = 0
        content = letter.decode().ljust(CONTENT_BYTES - 1, "x") + MARK.decode()
        sender = f"u{number:05d}" if sender is None else sender
        whole = _text_frame(
            f'{{"chat_message":{{"id":"{tag}{number:05d}{_COUNTER}","room_id":"{room_id}",'
            f'"sender_id":"{sender}","content":"{content}"}}}}'.encode()
        )
        before, after = whole.split(_COUNTER.encode().translate(_MASKED))
        self._head, self._tail = before, after

    def take(self, count: int) -> bytes:
        """Returns the frames of the next messages."""
        first = self.sent
        self.sent += count
        if count == 1:
            return self._head + (b"%08d" % first).translate(_MASKED) + self._tail
        return b"".join(
            self._head + (b"%08d" % number).translate(_MASKED) + self._tail
            for number in range(first, first + count)
        )


def room_ids(tag: str, workload: Workload) -> list[str]:
    """Names the rooms of a job."""
    return [f"{tag}-{number:04d}" for number in range(workload.rooms)]


def _text_frame(payload: bytes) -> bytes:
    """Frames and masks a text of up to 65,535 bytes (RFC 6455, section 5.2)."""
    size = len(payload)
    head = (
        bytes((0x81, 0x80 | size))
        if size < 126
        else bytes((0x81, 0x80 | 126)) + size.to_bytes(2, "big")
    )
    return head + bytes([_KEY] * 4) + payload.translate(_MASKED)
