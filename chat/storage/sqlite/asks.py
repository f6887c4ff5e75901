"""What is asked of the writer beside storing messages and users, and what comes of it: no I/O."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from chat.errors import ChatError
from chat.storage.changes import Change
from chat.storage.listener import UserMark
from gen.chat import ChatMessage, Mark, Room, RoomChanges


class Reading(NamedTuple):
    """A user has read a room up to a position.

    Attributes:
        seq: not beyond the newest one.
        back: whether the mark may go back.
    """

    user_id: str
    room_id: str
    seq: int
    back: bool


class Forgetting(NamedTuple):
    """A step of an erasure: profile, marks and mentions; a note says that there is more to do.

    Attributes:
        is_last: whether nothing else is left of the user, so that the note goes.
    """

    user_id: str
    is_last: bool


class Setting(NamedTuple):
    """What is to be known of a room; see `Store.set_room`."""

    room: Room
    if_change: int | None


Ask = Change | Reading | Forgetting | Setting
"""Done as a whole or not at all."""

Answer = ChatMessage | ChatError | Mark | bool | Room
"""To a change, the message as it stands, or why it is refused; to a reading, the mark; to a
forgetting, whether it has to be asked again; to a setting, the room, or why it is refused."""


class RoomHead(NamedTuple):
    """What is known of what became of a room's messages.

    Attributes:
        change: the number of the newest change, or 0.
        has_states: whether `states` has anything of the room.
    """

    change: int = 0
    has_states: bool = False


class Told(NamedTuple):
    """What a commit has to tell beside its messages.

    Attributes:
        heads: of rooms that it looked up, before its changes.
        changes: of rooms, in order.
        changed: the messages of these changes, as they stand.
        marks: those that moved.
        besides: rooms that have something in `states`.
    """

    heads: Mapping[str, RoomHead] = MappingProxyType({})
    changes: Sequence[RoomChanges] = ()
    changed: Sequence[ChatMessage] = ()
    marks: Sequence[UserMark] = ()
    besides: Sequence[str] = ()


NOTHING_TOLD: Final = Told()
