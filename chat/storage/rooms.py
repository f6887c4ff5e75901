"""What is known of a room beside its messages, as each engine decides and compares it: no I/O.

What is known of a room is "message 0" of its changes: to set it is a change like those of
messages, told at its place among them.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

import betterproto

from chat.errors import FailedPrecondition
from gen.chat import MessageChange, Room, RoomChanges

ITSELF: Final = 0
"""The place of the room itself among the positions of its messages."""

Altered = MessageChange | Room
"""What changed in a room: a message, or the room itself."""


def decide_room(before: Room, wanted: Room, if_change: int | None, number: int) -> Room | None:
    """Decides on what is to be known of a room.

    Args:
        before: what is known of it.
        wanted: what is to be; its `change` is of no account.
        if_change: only if `before.change` is this.
        number: the number of the change, if it is one.

    Returns:
        What is known of it now; `None` if that holds already.

    Raises:
        FailedPrecondition: it was set since `if_change`.
    """
    after = replace(wanted, change=before.change)
    if after == before:
        return None
    if if_change not in (None, before.change):
        raise FailedPrecondition(f"if_change: the room has change {before.change}, not {if_change}")
    return replace(wanted, change=number)


def room_of(changes: RoomChanges) -> Room | None:
    """Returns the room itself as it stands, if that is among some changes."""
    room = changes.held_room
    return room if room is not None and betterproto.serialized_on_wire(room) else None


def number_of(changed: Altered) -> int:
    """Returns the number of a change."""
    return changed.change if isinstance(changed, Room) else changed.state.change


def span_of(room_id: str, after: int, last: int, found: Iterable[Altered]) -> RoomChanges:
    """Returns changes of a room that were found behind one, up to another."""
    changes = RoomChanges(room_id, after, last)
    for each in found:
        if isinstance(each, Room):
            changes.room = each
        else:
            changes.messages.append(each)
    return changes


def folded(text: str) -> str:
    """Returns a text so that those which differ in case alone are alike.

    As Unicode has it for canonical caseless matching (section 3.13, D145).
    """
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())


def is_found(folded_query: str, room_id: str, title: str) -> bool:
    """Whether a query is in the id or the title of a room; an empty one is in all.

    Args:
        folded_query: as `folded` returns it.
        room_id: the id.
        title: the title, or empty.
    """
    return folded_query in folded(room_id) or (bool(title) and folded_query in folded(title))
