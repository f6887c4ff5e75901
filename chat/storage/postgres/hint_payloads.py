"""What a hint looks like: rooms and their new heads, as text on a channel; no I/O.

There are four forms. ``[node, heads]`` tells of messages. ``[node, {}, changes, marks]`` tells of
what became of them, and of how far users have read. ``[node, {}, {}, [], whispers]`` tells of who
types and who is there (see `whisper_payloads`), and ``[node, null]`` that the node is gone. Nodes
of before a form take it for no hint, and go on to read the other ones. `node` is the name of a
link (see `neighbours`).

Rooms share `CHANNELS` channels by a hash of their id, so that a node need listen only to those of
rooms that it follows. There is one more, `EVERYBODY`, that all nodes listen to: for probes, and
for hints of more channels than are worth a payload each, and for who is there: rooms are listed
with that at any node.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple
from zlib import crc32

import orjson

from chat.storage.listener import UserMark, Whisper
from chat.storage.postgres.whisper_payloads import pack, unpack
from gen.chat import Mark, Typists

CHANNELS: Final = 64
"""How many channels the rooms share. All nodes must agree on it."""
EVERYBODY: Final = "all"
"""The channel that all nodes listen to."""
PAYLOAD_BYTES: Final = 7900
"""The longest payload: PostgreSQL's must be below 8000 bytes."""

_HIGHEST: Final = 2**32 - 1
# What is counted beside a value that has an empty key; see `_parts`.
_AROUND: Final = 4


def channel_of(room_id: str) -> str:
    """The channel of a room."""
    return f"{crc32(room_id.encode()) % CHANNELS:02}"


class Told(NamedTuple):
    """What a node told.

    Attributes:
        node: who; empty if it is no hint.
        heads: by room: its newest position.
        changes: by room: the number of its newest change.
        marks: how far users have read.
        whispers: who types, and who is there.
        is_gone: whether the node says that it is gone, and nothing else.
    """

    node: str = ""
    heads: Mapping[str, int] = {}
    changes: Mapping[str, int] = {}
    marks: Sequence[UserMark] = ()
    whispers: Sequence[Whisper] = ()
    is_gone: bool = False

    @property
    def has_news(self) -> bool:
        """Whether it tells of any room."""
        return bool(self.heads or self.changes or self.marks or self.whispers)


def payloads(told: Told, most_channels: int = CHANNELS) -> Iterator[tuple[str, str]]:
    """Yields channels and payloads that tell something, none longer than `PAYLOAD_BYTES`.

    A room whose id does not fit into one is left out.

    Args:
        told: what to tell.
        most_channels: if it is of more channels than that, all of it goes to `EVERYBODY`.
    """
    typists = {each.room_id for each in told.whispers if isinstance(each, Typists)}
    rooms = {*told.heads, *told.changes, *(each.mark.room_id for each in told.marks), *typists}
    is_for_all = len(set(map(channel_of, rooms))) > most_channels

    def channel(room_id: str) -> str:
        return EVERYBODY if is_for_all else channel_of(room_id)

    head = len(_payload(told.node, {}))
    for to, part in _parts(((channel(room), room, at) for room, at in told.heads.items()), head):
        yield to, _payload(told.node, dict(part))
    head = len(_payload(told.node, {}, {}, []))
    for to, part in _parts(((channel(room), room, at) for room, at in told.changes.items()), head):
        yield to, _payload(told.node, {}, dict(part), [])
    marks = (
        (channel(mark.room_id), user_id, (mark.room_id, mark.seq, mark.mentions))
        for user_id, mark in told.marks
    )
    for to, part in _parts(marks, head):
        yield to, _payload(told.node, {}, {}, [[user_id, *mark] for user_id, mark in part])
    head = len(_payload(told.node, {}, {}, [], []))
    whispers = (
        (
            channel(each.room_id) if isinstance(each, Typists) else EVERYBODY,
            "",
            pack(each, PAYLOAD_BYTES - head - _AROUND),
        )
        for each in told.whispers
    )
    for to, part in _parts(whispers, head):
        yield to, _payload(told.node, {}, {}, [], [packed for _, packed in part])


def probe(node: str) -> tuple[str, str]:
    """Returns the channel and the payload by which a node shows that it is there."""
    return EVERYBODY, _payload(node, {})


def goodbye(node: str) -> tuple[str, str]:
    """Returns the channel and the payload by which a node says that it is gone."""
    return EVERYBODY, _payload(node, None)


def read(payload: str | bytes) -> Told:
    """Reads a payload.

    Anybody may publish anything: what is no hint tells nothing.
    """
    if len(payload) > PAYLOAD_BYTES:
        return Told()
    try:
        node, heads, *more = orjson.loads(payload)
        if isinstance(node, str) and heads is None and not more:
            return Told(node, is_gone=True)
        changes, marks, *whispers = more or ({}, [])
        [told] = whispers or [[]]
        numbers = [*heads.values(), *changes.values()]
        if isinstance(node, str) and all(map(_is_position, numbers)):
            read_marks = [_mark(*each) for each in marks]
            return Told(node, heads, changes, read_marks, [unpack(*each) for each in told])
    except (ValueError, TypeError, AttributeError):
        pass
    return Told()


def _mark(user_id: object, room_id: object, seq: object, mentions: object) -> UserMark:
    if not (isinstance(user_id, str) and isinstance(room_id, str)):
        raise TypeError("no mark")
    if not (isinstance(seq, int) and isinstance(mentions, int)):
        raise TypeError("no mark")
    if not (_is_position(seq) and _is_position(mentions)):
        raise ValueError("no mark")
    return UserMark(user_id, Mark(room_id, seq, mentions))


def _is_position(head: object) -> bool:
    return isinstance(head, int) and not isinstance(head, bool) and 0 <= head <= _HIGHEST


def _payload(node: str, *told: object) -> str:
    return orjson.dumps([node, *told]).decode()


def _parts(
    items: Iterable[tuple[str, str, Any]], head: int
) -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """Yields the items of each channel, as many at once as fit behind the head of a payload.

    Args:
        items: channel, key and value of each.
        head: the bytes of a payload without any.
    """
    channels: defaultdict[str, list[tuple[str, Any]]] = defaultdict(list)
    sizes: Counter[str] = Counter()
    for channel, key, value in items:
        # With the colon and the comma, of a number with all of its digits.
        needed = len(orjson.dumps(key)) + max(10, len(orjson.dumps(value))) + 2
        if head + needed > PAYLOAD_BYTES:
            continue
        if channels[channel] and head + sizes[channel] + needed > PAYLOAD_BYTES:
            yield channel, channels.pop(channel)
            del sizes[channel]
        channels[channel].append((key, value))
        sizes[channel] += needed
    yield from ((channel, part) for channel, part in channels.items() if part)
