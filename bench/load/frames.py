"""Precomputed frames of a load client, and the bytes by which it counts received messages.

Nothing is parsed. A text of 64 bytes begins with a letter that identifies its sender
and ends in `MARK`; neither occurs anywhere else in a frame of up to 255 bytes, so
counting that byte in received data counts messages, even split ones.
"""

import string
from typing import Final

from aiohttp import WSMsgType

from bench.load.dialects import Dialect
from bench.workloads import Workload
from tests.kit.web import masked

MARK: Final = b"!"
# T and Z occur in timestamps.
LETTERS: Final = [letter.encode() for letter in string.ascii_uppercase if letter not in "TZ"]
CONTENT_BYTES: Final = 64

# Any key (RFC 6455, section 5.3) except 0, which some servers need not unmask.
_KEY: Final = 0x37
_MASKED: Final = bytes(byte ^ _KEY for byte in range(256))
# The placeholder of a message's number.
_COUNTER: Final = "########"

PONG: Final = masked(WSMsgType.PONG, b"")
CLOSE: Final = masked(WSMsgType.CLOSE, (1000).to_bytes(2))


class Messages:
    """Creates the messages of one sender, with distinct ids.

    Args:
        dialect: how it frames them.
        tag: the prefix of its ids.
        room_id: the room that it sends to.
        number: its number among all clients.
        letter: the first letter of its texts.
        sender: the sender id; by default one of its own.
    """

    __slots__ = ("_head", "_tail", "sent")

    def __init__(
        self,
        dialect: Dialect,
        tag: str,
        room_id: str,
        number: int,
        letter: bytes,
        sender: str | None = None,
    ) -> None:
        self.sent = 0
        content = letter.decode().ljust(CONTENT_BYTES - 1, "x") + MARK.decode()
        sender = f"u{number:05d}" if sender is None else sender
        text = dialect.text(
            "chat_message",
            f'{{"id":"{tag}{number:05d}{_COUNTER}","room_id":"{room_id}",'
            f'"sender_id":"{sender}","content":"{content}"}}',
        )
        whole = masked(WSMsgType.TEXT, text.encode(), mask=bytes([_KEY] * 4))
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
    return [room_id(tag, number) for number in range(workload.rooms)]


def room_id(tag: str, number: int) -> str:
    """Names one room of a job."""
    return f"{tag}-{number:04d}"
