"""Presence: a user is active while one of its connections is open. No I/O."""

from collections import defaultdict
from collections.abc import Collection, Hashable
from typing import Generic, TypeVar

Connection = TypeVar("Connection", bound=Hashable)


class Presence(Generic[Connection]):
    """Counts the connections of each user."""

    def __init__(self) -> None:
        self._connections: dict[str, set[Connection]] = {}
        self._users: defaultdict[Connection, set[str]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._connections)

    def attach(self, connection: Connection, user_id: str) -> bool:
        """Notes that a connection speaks for a user.

        Returns:
            Whether the user has just become active.
        """
        users = self._users[connection]
        if user_id in users:
            return False
        users.add(user_id)
        connections = self._connections.setdefault(user_id, set())
        connections.add(connection)
        return len(connections) == 1

    def detach(self, connection: Connection, user_id: str) -> bool:
        """Notes that a connection no longer speaks for a user.

        Returns:
            Whether the user has just become inactive.
        """
        users = self._users.get(connection, set())
        if user_id not in users:
            return False
        users.remove(user_id)
        if not users:
            del self._users[connection]
        return self._drop(connection, user_id)

    def users_of(self, connection: Connection) -> Collection[str]:
        """Returns the users that a connection speaks for."""
        return self._users.get(connection, ())

    def connections_of(self, user_id: str) -> Collection[Connection]:
        """Returns the connections that speak for a user."""
        return self._connections.get(user_id, ())

    def close(self, connection: Connection) -> list[str]:
        """Forgets a connection.

        Returns:
            The users that have just become inactive.
        """
        users = self._users.pop(connection, set())
        return [user_id for user_id in users if self._drop(connection, user_id)]

    def _drop(self, connection: Connection, user_id: str) -> bool:
        connections = self._connections[user_id]
        connections.discard(connection)
        if connections:
            return False
        del self._connections[user_id]
        return True
