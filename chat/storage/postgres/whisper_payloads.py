"""What a whisper looks like in a hint: a list that begins with its kind; no I/O.

====================================================  ======================================
``["t", room_id, [user_id, …], others, hold_ms]``      who types
``["p", room_id, count, [user_id, …]]``                who is there
====================================================  ======================================

Anybody may publish anything: what is none of these, or too large, is refused.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import orjson

from chat.storage.listener import Whisper
from gen.chat import RoomPresence, Typists

MOST_NAMES: Final = 50
"""How many users one whisper names at most."""

_LONGEST_HOLD_MS: Final = 60_000
_LARGEST: Final = 2**32 - 1
# As no id has any, old or new.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def pack(whisper: Whisper, most_bytes: int) -> list[object]:
    """Returns a whisper as it travels.

    Args:
        whisper: what to tell.
        most_bytes: how long it may be, as JSON. Names that do not fit are left out; of who is
            there the count stays.
    """
    if isinstance(whisper, Typists):
        packed = ["t", whisper.room_id, [], whisper.others, whisper.hold_ms]
        names = _fitting(whisper.user_ids, most_bytes - len(orjson.dumps(packed)))
        left = len(whisper.user_ids) - len(names)
        return ["t", whisper.room_id, names, whisper.others + left, whisper.hold_ms]
    packed = ["p", whisper.room_id, whisper.count, []]
    names = _fitting(whisper.user_ids, most_bytes - len(orjson.dumps(packed)))
    return [*packed[:-1], names]


def unpack(kind: object, room_id: object, *rest: Any) -> Whisper:
    """Reads a whisper.

    Raises:
        ValueError, TypeError: it is none.
    """
    room = _name(room_id)
    if kind == "t":
        names, others, hold_ms = rest
        hold = _number(hold_ms, _LONGEST_HOLD_MS)
        return Typists(room, _names(names), _number(others), hold)
    if kind != "p":
        raise ValueError("no whisper")
    count, names = rest
    presence = RoomPresence(room, _number(count), _names(names))
    if presence.count < len(presence.user_ids):
        raise ValueError("fewer than are named")
    return presence


def _fitting(names: Sequence[str], most_bytes: int) -> list[str]:
    """Returns the first names, as many as fit."""
    fitting = []
    for name in names[:MOST_NAMES]:
        most_bytes -= len(orjson.dumps(name)) + 1
        if most_bytes < 0:
            break
        fitting.append(name)
    return fitting


def _names(names: object) -> list[str]:
    if not isinstance(names, list) or len(names) > MOST_NAMES:
        raise ValueError("no names")
    return list(map(_name, names))


def _name(name: object) -> str:
    if not isinstance(name, str) or not name or _CONTROL.search(name):
        raise ValueError("no name")
    return name


def _number(number: object, most: int = _LARGEST) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= most:
        raise ValueError("no number")
    return number
