"""The identity of a caller and its permissions: pure decisions.

======================  =========================================================
request                 is allowed to
======================  =========================================================
send to a room          callers with write access, in their own name
join a room, read its   callers with read access
history
edit a message          its sender, with write access
delete a message        its sender and moderators, with read access
pin one                 moderators, with read access
react to one, see what  callers with read access, in their own name
changed, note how far
one has read a room
mention everyone in a   moderators
room, or set the room
list a room, and its    callers with read access
members
change a user           that user, and an admin
see an e-mail address   its owner, and an admin
erase a user            an admin
open the batch stream   a proxy
======================  =========================================================

Moderators are callers whose token says so, and admins, in the rooms that they may read.

A guest, of whom nothing is known, may do all of this but erase: names are taken on trust.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from chat.access.keys import Key
from chat.errors import PermissionDenied, Unauthenticated

_ANY: Final = "*"


class RoomPatterns:
    """A set of rooms.

    Args:
        patterns: names; one that ends in ``*`` stands for all that begin like it.

    Raises:
        ValueError: a pattern has a ``*`` elsewhere.
    """

    __slots__ = ("_names", "_prefixes", "_sorted_names", "_sorted_prefixes")

    def __init__(self, patterns: Iterable[str]) -> None:
        patterns = tuple(patterns)
        for pattern in patterns:
            if _ANY in pattern[:-1]:
                raise ValueError("* may only end a pattern")
        self._names = frozenset(each for each in patterns if not each.endswith(_ANY))
        self._prefixes = tuple(each[:-1] for each in patterns if each.endswith(_ANY))
        self._sorted_names = sorted(self._names)
        self._sorted_prefixes = sorted(self._prefixes)

    def __contains__(self, room_id: str) -> bool:
        return room_id in self._names or room_id.startswith(self._prefixes)

    def behind(self, room_id: str) -> Sequence[str] | None:
        """Tells where its next rooms are, so that others need not be looked at.

        Args:
            room_id: only what sorts behind this.

        Returns:
            The ids that come next, up to one behind which any may come; empty if none does.
            `None` if `room_id` itself is one behind which any may come.
        """
        if room_id.startswith(self._prefixes):
            return None
        names = self._sorted_names[bisect_right(self._sorted_names, room_id) :]
        nth = bisect_right(self._sorted_prefixes, room_id)
        if nth == len(self._sorted_prefixes):
            return names
        prefix = self._sorted_prefixes[nth]
        return [*names[: bisect_left(names, prefix)], prefix]


ALL_ROOMS: Final = RoomPatterns([_ANY])
NO_ROOMS: Final = RoomPatterns([])


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller.

    Attributes:
        subject: its user; `None` for a guest, who may be anyone.
        reads: the rooms that it may read.
        writes: the rooms that it may send to.
        is_admin: whether it sees, changes and erases all users.
        is_moderator: whether it moderates the rooms that it may read; an admin does so, too.
        is_proxy: whether it speaks for others on the batch stream.
        expires_at: the end of its token, in seconds since 1970; `None` for never.
        key: the key that signed its token; `None` without a token.
    """

    subject: str | None = None
    reads: RoomPatterns = NO_ROOMS
    writes: RoomPatterns = NO_ROOMS
    is_admin: bool = False
    is_moderator: bool = False
    is_proxy: bool = False
    expires_at: float | None = None
    key: Key | None = field(default=None, repr=False)

    def check_time(self, now: float) -> None:
        """Checks that its token has not expired.

        Raises:
            Unauthenticated: it has.
        """
        if self.expires_at is not None and now >= self.expires_at:
            raise Unauthenticated("the token has expired")

    def check_same(self, other: Identity, path: str) -> None:
        """Checks that another token is of the same user.

        Raises:
            PermissionDenied: it is not.
        """
        if other.subject != self.subject:
            raise PermissionDenied(path, "must be of the same subject")

    def check_read(self, room_id: str, path: str) -> None:
        """Checks that it may read a room.

        Raises:
            PermissionDenied: it may not; the text begins with the path.
        """
        if room_id not in self.reads:
            raise PermissionDenied(path, "the token does not allow to read this room")

    def check_write(self, room_id: str, path: str) -> None:
        """Checks that it may send to a room.

        Raises:
            PermissionDenied: it may not; the text begins with the path.
        """
        if room_id not in self.writes:
            raise PermissionDenied(path, "the token does not allow to send to this room")

    def sender(self, sender_id: str, path: str) -> str:
        """Returns the sender of a message.

        Args:
            sender_id: the sender that the message names; empty stands for the caller.
            path: the field.

        Raises:
            PermissionDenied: it is another's.
        """
        if self.subject is None:
            return sender_id
        if sender_id not in ("", self.subject):
            raise PermissionDenied(path, "must be the subject of the token, or left out")
        return self.subject

    def check_owner(self, user_id: str, path: str) -> None:
        """Checks that it may change a user.

        Raises:
            PermissionDenied: it may not.
        """
        if not self.owns(user_id):
            raise PermissionDenied(path, "the token does not allow to change this user")

    def owns(self, user_id: str) -> bool:
        """Whether it may see and change all of a user."""
        return self.subject is None or self.is_admin or self.subject == user_id

    def moderates(self, room_id: str) -> bool:
        """Whether it may set a room, delete and pin messages of others in it, and call everyone."""
        return (self.is_moderator or self.is_admin) and room_id in self.reads

    def check_admin(self, path: str) -> None:
        """Checks that it may erase users.

        Raises:
            PermissionDenied: it may not.
        """
        if not self.is_admin:
            raise PermissionDenied(path, "only an admin may erase a user")

    def check_proxy(self) -> None:
        """Checks that it may open the batch stream.

        Raises:
            PermissionDenied: it may not.
        """
        if not self.is_proxy:
            raise PermissionDenied("authorization", "only a proxy may open this stream")


GUEST: Final = Identity(reads=ALL_ROOMS, writes=ALL_ROOMS, is_moderator=True, is_proxy=True)
"""A caller of a server that knows nobody: it may be anyone, and do anything but erase."""
