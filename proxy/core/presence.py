"""The users that clients of this proxy speak as, and what the server knows of them: no I/O.

The server takes a message as a sign that its sender is active. So only the end is told, when
the last client that sent as a user is gone; and on a new link, that the others are there.
"""

from collections.abc import Collection

from gen.chat import Presence as PresenceCommand
from gen.chat import RelayCommand
from proxy.core.client import Client
from proxy.core.outbox import COMMAND_BYTES, Outbox


class Presence:
    """The users of all clients."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._users: dict[str, dict[Client, None]] = {}
        # Senders whose end is not told before the link is proven; `None` once it is.
        self._untold: set[str] | None = None

    def add(self, client: Client, user_id: str) -> None:
        """Notes that a client speaks as a user for the first time."""
        client.users.add(user_id)
        self._users.setdefault(user_id, {})[client] = None

    def clients_of(self, user_id: str) -> Collection[Client]:
        """Returns the clients that have sent as a user."""
        return self._users.get(user_id, ())

    def remove(self, client: Client) -> None:
        """Notes that a client is gone; tells the server of users that went with it."""
        for user_id in client.users:
            clients = self._users[user_id]
            del clients[client]
            if not clients:
                del self._users[user_id]
                self._tell(user_id, active=False)
        client.users.clear()

    def connected(self, *, at_once: bool) -> None:
        """Tells a new link which users are there.

        Args:
            at_once: if not, `proven` does it: such a command may have ended links.
        """
        self._untold = None if at_once else set()
        if at_once:
            self._tell_users()

    def resent(self, senders: set[str]) -> None:
        """Tells the end of users who left meanwhile: their messages were sent again."""
        if self._untold is None:
            self._tell_gone(senders)
        else:
            self._untold |= senders

    def proven(self) -> None:
        """Tells what had to wait until the link was proven."""
        if self._untold is not None:
            senders, self._untold = self._untold, None
            self._tell_users()
            self._tell_gone(senders)

    def _tell_users(self) -> None:
        for user_id in self._users:
            self._tell(user_id, active=True)

    def _tell_gone(self, senders: set[str]) -> None:
        for user_id in senders - self._users.keys():
            self._tell(user_id, active=False)

    def _tell(self, user_id: str, *, active: bool) -> None:
        command = RelayCommand(
            ref=next(self._outbox.refs), presence=PresenceCommand(user_id, active)
        )
        self._outbox.put(command, COMMAND_BYTES)
