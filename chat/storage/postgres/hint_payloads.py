"""What a hint looks like: rooms and their new heads, as text on a channel; no I/O.

Rooms share `CHANNELS` channels by a hash of their id, so that a node need listen only to those of
rooms that it follows. There is one more, `EVERYBODY`, that all nodes listen to: for probes, and
for hints of more channels than are worth a payload each.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from zlib import crc32

import orjson

CHANNELS: Final = 64
"""How many channels the rooms share. All nodes must agree on it."""
EVERYBODY: Final = "all"
"""The channel that all nodes listen to."""
PAYLOAD_BYTES: Final = 7900
"""The longest payload: PostgreSQL's must be below 8000 bytes."""

_HIGHEST: Final = 2**32 - 1


def channel_of(room_id: str) -> str:
    """The channel of a room."""
    return f"{crc32(room_id.encode()) % CHANNELS:02}"


def payloads(
    node: str, heads: Mapping[str, int], most_channels: int = CHANNELS
) -> Iterator[tuple[str, str]]:
    """Yields channels and payloads that tell heads of rooms, none longer than `PAYLOAD_BYTES`.

    A room whose id does not fit into one is left out.

    Args:
        node: who tells it.
        heads: by room.
        most_channels: if they are of more channels than that, all of it goes to `EVERYBODY`.
    """
    rooms: defaultdict[str, list[str]] = defaultdict(list)
    for room_id in heads:
        rooms[channel_of(room_id)].append(room_id)
    if len(rooms) > most_channels:
        rooms = defaultdict(list, {EVERYBODY: list(heads)})
    for channel, room_ids in rooms.items():
        for part in _split(room_ids, PAYLOAD_BYTES - len(_payload(node, {}))):
            yield channel, _payload(node, {room_id: heads[room_id] for room_id in part})


def probe(node: str) -> tuple[str, str]:
    """Returns the channel and the payload by which a node shows that it is there."""
    return EVERYBODY, _payload(node, {})


def read(payload: str | bytes) -> tuple[str, Mapping[str, int]]:
    """Reads a payload: the node that sent it, and heads of rooms.

    Anybody may publish anything: what is no hint tells nothing.
    """
    try:
        node, heads = orjson.loads(payload)
        if isinstance(node, str) and all(map(_is_position, heads.values())):
            return node, heads
    except (ValueError, TypeError, AttributeError):
        pass
    return "", {}


def _is_position(head: object) -> bool:
    return isinstance(head, int) and 0 <= head <= _HIGHEST


def _payload(node: str, heads: Mapping[str, int]) -> str:
    return orjson.dumps([node, heads]).decode()


def _split(room_ids: Iterable[str], most: int) -> Iterator[list[str]]:
    part: list[str] = []
    size = 0
    for room_id in room_ids:
        # With its quotes, and the colon, the head and the comma behind it.
        needed = len(orjson.dumps(room_id)) + 12
        if part and size + needed > most:
            yield part
            part, size = [], 0
        if needed <= most:
            part.append(room_id)
            size += needed
    if part:
        yield part
