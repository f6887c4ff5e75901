"""The members of a room that are told more than its messages: no I/O.

Each member is told what its own `join` asked for. One that only sends to the room is told nothing
of it.
"""

from collections.abc import Collection, Iterator

from gen.chat import Join, JoinFollow
from proxy.core.client import Client


def wants_changes(join: Join) -> bool:
    """Whether a `join` follows the changes of its room."""
    return JoinFollow.CHANGES in join.follow


class Followers:
    """The followers of one room.

    Attributes:
        changes: those of its changes, in the order of entering.
        reads: those of its reads.
        typing: those of who types.
        presence: those of who is there.
    """

    __slots__ = ("_by_user", "_users", "changes", "presence", "reads", "typing")

    def __init__(self) -> None:
        self.changes: dict[Client, None] = {}
        self.reads: dict[Client, None] = {}
        self.typing: dict[Client, None] = {}
        self.presence: dict[Client, None] = {}
        # Of each follower of anything the user that its `join` named, or the subject of its
        # token; and the other way around.
        self._users: dict[Client, str] = {}
        self._by_user: dict[str, dict[Client, None]] = {}

    def add(self, client: Client, join: Join) -> None:
        """Adds a member, if its `join` follows anything."""
        kinds = [kind for each in join.follow if (kind := self._of(each)) is not None]
        if not kinds:
            return
        for followers in kinds:
            followers[client] = None
        user_id = join.user_id if client.caller is None else client.caller.user_id
        self._users[client] = user_id
        if user_id:
            self._by_user.setdefault(user_id, {})[client] = None

    def discard(self, client: Client) -> None:
        """Removes a member. Nothing happens if it follows nothing."""
        user_id = self._users.pop(client, None)
        if user_id is None:
            return
        for followers in (self.changes, self.reads, self.typing, self.presence):
            followers.pop(client, None)
        if user_id:
            same = self._by_user[user_id]
            del same[client]
            if not same:
                del self._by_user[user_id]

    def speaking_for(self, user_id: str, senders: Collection[Client]) -> Iterator[Client]:
        """Yields the followers that speak for a user.

        Args:
            user_id: the user.
            senders: the clients that have sent as the user, in whatever room.
        """
        named = self._by_user.get(user_id, {})
        yield from named
        for client in senders:
            if client in self._users and client not in named:
                yield client

    def _of(self, kind: JoinFollow) -> dict[Client, None] | None:
        match kind:
            case JoinFollow.CHANGES:
                return self.changes
            case JoinFollow.READS:
                return self.reads
            case JoinFollow.TYPING:
                return self.typing
            case JoinFollow.PRESENCE:
                return self.presence
        return None
