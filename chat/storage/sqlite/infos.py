"""What is known of rooms beside their messages: what one commit sets of it.

It is a row of `states` in the place of a message 0, with the room as its state, and its title as
the text, for searches: so it is among the changes of the room like that of a message. It does not
count for `rooms.beside`, as no message has more than its text by it. A room that is set is a row of
`rooms` from then on.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import apsw

import codec
from chat.errors import ChatError
from chat.storage.rooms import ITSELF, decide_room
from chat.storage.sqlite import scrub
from chat.storage.sqlite.asks import Setting
from chat.storage.sqlite.schema import SEQ_BITS
from chat.storage.sqlite.states import query, write
from gen.chat import Room, RoomChanges

_ADD_ROOM: Final = "INSERT OR IGNORE INTO rooms (room_id) VALUES (?)"
_LOAD: Final = """
SELECT json_group_array(json_array(new.value, room, changes, hex(state)))
FROM json_each(?) AS new CROSS JOIN rooms LEFT JOIN states ON position = room << 32
WHERE room_id = new.value
"""
_STORE: Final = """
INSERT INTO states (position, change, content, state)
SELECT value ->> 0, value ->> 1, value ->> 2, unhex(value ->> 3) FROM json_each(?) WHERE true
ON CONFLICT (position) DO UPDATE SET
    change = excluded.change, content = excluded.content, state = excluded.state
"""
_STORE_NUMBERS: Final = """
UPDATE rooms SET changes = new.value ->> 1
FROM json_each(?) AS new WHERE room = new.value ->> 0
"""


class _Known(NamedTuple):
    """What is stored of a room.

    Attributes:
        number: that of the room; 0 if it has none.
        changes: the number of its newest change.
    """

    number: int
    changes: int
    room: Room


def info_from(room_id: str, digits: str) -> Room:
    """Returns what is known of a room.

    Args:
        room_id: the room.
        digits: the column `state` of its row in hexadecimal digits; empty if there is none.

    Raises:
        ValueError: it is damaged.
    """
    return codec.decode(Room, bytes.fromhex(digits)) if digits else Room(room_id)


def set_rooms(
    connection: apsw.Connection, settings: Sequence[Setting], now: int
) -> tuple[list[Room | ChatError], list[RoomChanges]]:
    """Sets what is known of rooms, in a transaction, behind the changes of its messages.

    Args:
        connection: the writer's.
        settings: what is asked, in order.
        now: in microseconds since 1970.

    Returns:
        The answer to each, and what is to be told, in order.

    Raises:
        apsw.Error: or another one, of a value: nothing is to be kept.
    """
    if not settings:
        return [], []
    before = _load(connection, settings)
    after = dict(before)
    answers: list[Room | ChatError] = []
    for room, if_change in settings:
        known = after.get(room.id) or _Known(0, 0, Room(room.id))
        try:
            decided = decide_room(known.room, room, if_change, known.changes + 1)
        except ChatError as error:
            answers.append(error)
            continue
        if decided is not None:
            known = after[room.id] = known._replace(changes=decided.change, room=decided)
        answers.append(known.room)
    changed = {room_id: known for room_id, known in after.items() if before.get(room_id) != known}
    _store(connection, changed, now)
    return answers, [
        RoomChanges(
            room_id,
            before[room_id].changes if room_id in before else 0,
            known.changes,
            room=known.room,
        )
        for room_id, known in changed.items()
    ]


def _load(connection: apsw.Connection, settings: Sequence[Setting]) -> dict[str, _Known]:
    found = query(connection, _LOAD, list({each.room.id for each in settings}))
    return {
        room_id: _Known(number, changes, info_from(room_id, digits))
        for room_id, number, changes, digits in found
    }


def _store(connection: apsw.Connection, changed: dict[str, _Known], now: int) -> None:
    if not changed:
        return
    states: list[tuple[int, int, str, str]] = []
    numbers: list[tuple[int, int]] = []
    for room_id, known in changed.items():
        number = known.number
        if not number:
            connection.execute(_ADD_ROOM, (room_id,))
            number = connection.last_insert_rowid()
        place = number << SEQ_BITS
        digits = bytes(codec.encode(known.room)).hex()
        states.append((place | ITSELF, place | known.changes, known.room.title, digits))
        numbers.append((number, known.changes))
    write(connection, _STORE, states)
    write(connection, _STORE_NUMBERS, numbers)
    # What was known before is gone from every answer, and not from the disk yet.
    scrub.note(connection, now)
