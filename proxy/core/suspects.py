"""Finds the command that ends the links to the server: no I/O.

When a link dies soon after it was made, the commands on it without an answer are suspects.
On the next link they go in small groups, each answered before the next one goes: so the
deadly group is found, and on the link after that, one by one, the deadly command. It is
given up after it was alone twice::

    link 1 dies     all that was not answered is suspected
    link 2 dies     those of one batch are, more strongly
    link 3 dies     the one of them that was alone on it is, still more
    link 4 dies     that one, if it was alone on it again, is given up

Twice, because a server may as well be killed while somebody's command is alone. A link
that could not be made, or that the server ended in order, is not counted. One that lives
for some seconds clears everybody.
"""

from collections.abc import Iterable
from typing import Final

from gen.chat import Admit, Authenticate, ChangeMessageRequest, Join
from proxy.core.outbox import Item
from proxy.core.unconfirmed import UnconfirmedSend

LINKS: Final = 4
"""After so many links in a row that died with it a command is given up."""

# After so many deaths a command goes alone.
_ALONE: Final = 2

Key = tuple[str, str | int]
"""Names a command over several links, on each of which its ref may be new."""


def key_of(item: Item) -> Key | None:
    """Returns the key of a command; `None` if it is not answered, or not repeated."""
    if isinstance(item, UnconfirmedSend):
        return "chat_message", item.ref
    match item.command:
        case Join(room_id=room_id):
            return "join", room_id
        case Authenticate():
            return "authenticate", item.client
        case Admit():
            return "admit", item.ref
        case ChangeMessageRequest():
            return "change_message", item.ref
    return None


class Suspects:
    """The commands that were on links that died.

    Attributes:
        links: the number of links that died in a row.
    """

    def __init__(self) -> None:
        self.links = 0
        # The number of them that each command was on.
        self._deaths: dict[Key, int] = {}

    def __bool__(self) -> bool:
        return bool(self._deaths)

    def strongly(self, item: Item) -> bool:
        """Whether a command is suspected so strongly that it has to go alone."""
        key = key_of(item)
        return key is not None and self._deaths.get(key, 0) >= _ALONE

    def died(self, carried: Iterable[Key], waiting: Iterable[Key]) -> set[Key]:
        """Notes that a link died soon.

        Args:
            carried: the commands on it without an answer.
            waiting: those that were still to be put on it.

        Returns:
            The commands to give up.
        """
        self.links += 1
        before = self._deaths
        # All others of before have been answered.
        self._deaths = {key: before[key] for key in waiting if key in before}
        given_up = set()
        for key in set(carried):
            deaths = before.get(key, 0) + 1
            if deaths < LINKS:
                self._deaths[key] = deaths
            else:
                given_up.add(key)
        return given_up

    def clear(self) -> None:
        """Notes that a link lived."""
        self.links = 0
        self._deaths.clear()
