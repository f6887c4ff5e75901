"""What a stream is told of a room that it is in: no I/O."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from chat.errors import InvalidArgument
from gen.chat import Join, JoinFollow

Member = TypeVar("Member")

_KINDS: Final = frozenset(
    {
        JoinFollow.NONE,
        JoinFollow.CHANGES,
        JoinFollow.TYPING,
        JoinFollow.PRESENCE,
        JoinFollow.READS,
    }
)


class Membership:
    """One stay in a room; a new one for each entry. Without more, of messages alone."""

    __slots__ = ()

    def again(self, change: int) -> Membership:  # noqa: ARG002 - of interest to followers alone
        """Returns the next stay: the same is told, from a change on."""
        return Membership()


class Following(Membership):
    """A stay of a stream that follows more than messages.

    Attributes:
        changes: whether it is told what changes.
        reads: whether it is told how far users have read.
        typing: whether it is told who types.
        presence: whether it is told who is there.
        user_id: the user whose marks it is told, beside those as whom it has sent; `None` for
            the marks of all, as a proxy is told.
        change: up to which change it was told all.
    """

    __slots__ = ("change", "changes", "presence", "reads", "typing", "user_id")

    def __init__(
        self,
        *,
        changes: bool = False,
        reads: bool = False,
        typing: bool = False,
        presence: bool = False,
        user_id: str | None,
    ) -> None:
        self.changes = changes
        self.reads = reads
        self.typing = typing
        self.presence = presence
        self.user_id = user_id
        self.change = 0

    def again(self, change: int) -> Following:
        """See `Membership`."""
        stay = Following(
            changes=self.changes,
            reads=self.reads,
            typing=self.typing,
            presence=self.presence,
            user_id=self.user_id,
        )
        stay.change = change
        return stay


def membership_of(join: Join, user_id: str | None) -> Membership:
    """Returns the stay that a join asks for.

    Args:
        join: the request.
        user_id: the user whose marks are told; see `Following`.

    Raises:
        InvalidArgument: what is to be followed is unknown, or named twice, or `after_change`
            lacks what it needs.
    """
    follow = set(join.follow)
    if not follow <= _KINDS:
        raise InvalidArgument("join.follow", "expected CHANGES, TYPING, PRESENCE or READS")
    if len(follow) < len(join.follow):
        raise InvalidArgument("join.follow", "must name each kind once")
    changes = JoinFollow.CHANGES in follow
    if join.after_change is not None and not changes:
        raise InvalidArgument("join.after_change", "needs CHANGES in join.follow")
    if join.after_change is not None and join.after_seq is None:
        raise InvalidArgument("join.after_change", "needs join.after_seq")
    if follow <= {JoinFollow.NONE}:
        return Membership()
    return Following(
        changes=changes,
        reads=JoinFollow.READS in follow,
        typing=JoinFollow.TYPING in follow,
        presence=JoinFollow.PRESENCE in follow,
        user_id=user_id,
    )


class Followers(Generic[Member]):
    """The members of a room that follow more than messages.

    Attributes:
        readers: how many of them are told how far users have read.
        watchers: how many of them are told who is there.
    """

    __slots__ = ("_of_user", "_stays", "readers", "watchers")

    def __init__(self) -> None:
        self._stays: dict[Member, Following] = {}
        # By the user whose marks they are told; `None` for all users.
        self._of_user: dict[str | None, dict[Member, None]] = {}
        self.readers = 0
        self.watchers = 0

    def __len__(self) -> int:
        return len(self._stays)

    def __contains__(self, member: object) -> bool:
        return member in self._stays

    def __iter__(self) -> Iterator[tuple[Member, Following]]:
        return iter(self._stays.items())

    def add(self, member: Member, stay: Following) -> None:
        """Adds a member, which is not one of them, or replaces its stay by the next one."""
        self.remove(member)
        self._stays[member] = stay
        self._of_user.setdefault(stay.user_id, {})[member] = None
        self.readers += stay.reads
        self.watchers += stay.presence

    def remove(self, member: Member) -> None:
        """Removes a member; nothing happens if it is not one of them."""
        stay = self._stays.pop(member, None)
        if stay is None:
            return
        self.readers -= stay.reads
        self.watchers -= stay.presence
        members = self._of_user[stay.user_id]
        del members[member]
        if not members:
            del self._of_user[stay.user_id]

    def of_user(self, user_id: str) -> list[Member]:
        """Returns those that are told the marks of a user, by what they asked for."""
        return [*self._of_user.get(user_id, ()), *self._of_user.get(None, ())]
