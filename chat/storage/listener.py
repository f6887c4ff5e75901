"""Who is told by a store of what was stored; see `chat.storage.base` for the guarantees."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from gen.chat import ChatMessage, Mark, RoomChanges, RoomPresence, Typists


class Head(NamedTuple):
    """How far a room has come.

    Attributes:
        seq: the position of its newest message, or 0.
        change: the number of its newest change, or 0.
    """

    seq: int = 0
    change: int = 0


class UserMark(NamedTuple):
    """How far a user has read a room."""

    user_id: str
    mark: Mark


Announce = Callable[[Sequence[ChatMessage]], None]
"""Tells of messages that were stored; see **Announcement**."""

Changed = Callable[[Sequence[RoomChanges]], None]
"""Tells what changed in rooms; see **Changes**."""

Renew = Callable[[Mapping[str, Head]], None]
"""Tells that the history is another one now, from where on in each room; see **Epoch**."""

Marked = Callable[[Sequence[UserMark]], None]
"""Tells how far users have read; see **Marks**."""

Whisper = Typists | RoomPresence
"""What nodes tell each other of their clients; see **Whispers**."""

Whispered = Callable[[str, Whisper], None]
"""Tells what another node, by its name, says of its clients; see **Whispers**."""

Met = Callable[[str], None]
"""Tells that another node is there, which may have missed all that was whispered before."""

Lost = Callable[[str], None]
"""Tells that another node is gone, or has not been heard of for a while."""


def _ignore(*_: Any) -> None:
    """Takes what nobody wants to hear."""


@dataclass(frozen=True, slots=True)
class Listener:
    """The one who is told, in the event loop.

    Attributes:
        announce: of messages.
        renew: of another history.
        changed: of changes.
        marked: of marks.
        whispered: of who types and who is there, at other nodes.
        met: of other nodes that are to be told all anew.
        lost: of other nodes that are gone.
    """

    announce: Announce = _ignore
    renew: Renew = _ignore
    changed: Changed = _ignore
    marked: Marked = _ignore
    whispered: Whispered = _ignore
    met: Met = _ignore
    lost: Lost = _ignore
