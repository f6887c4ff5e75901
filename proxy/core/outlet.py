"""The way of what is told of people to the server; and how often. No I/O."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gen.chat import RelayCommand
from proxy.core.attendance import KEEP_SECONDS
from proxy.core.outbox import COMMAND_BYTES, Outbox
from proxy.core.room import Room
from proxy.core.typists import HOLD_SECONDS

# Of UTF-8, in bytes, and with what stands between two names.
_LARGEST_CHARACTER: Final = 4
_NAME_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Paces:
    """How often people are told of, in seconds.

    Attributes:
        server: between two times that the server is told of a room.
        followers: between two times that followers are told what the server did not tell.
        gone: after which followers are shown that somebody has gone of whom the server has not
            told: longer than it takes to hear of a user and to tell of it.
        late: after which clients that were left out are tried again.
        keep: for how long what was told on the link before is shown; see `Attendance`.
        hold: how long somebody types who says so once.
    """

    server: float = 1.0
    followers: float = 5.0
    gone: float = 7.0
    late: float = 5.0
    keep: float = KEEP_SECONDS
    hold: float = HOLD_SECONDS


class Outlet:
    """Puts commands about rooms into the outbox, while the server takes them.

    Attributes:
        silent: whether nothing is told until the link is proven: a command that nobody answers
            may have ended the links before.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.silent = False

    def takes(self, room: Room) -> bool:
        """Whether the server may be told of a room."""
        return room.has_people and not self.silent

    def put(self, command: RelayCommand, names: Iterable[str]) -> None:
        """Tells the server.

        Args:
            command: the command, without a ref.
            names: the users that it names.
        """
        command.ref = next(self._outbox.refs)
        size = COMMAND_BYTES + sum(_LARGEST_CHARACTER * len(each) + _NAME_BYTES for each in names)
        self._outbox.put(command, size)


def nothing(_: None, __: None) -> None:
    """Merges what is looked up when it is told."""
