"""A client as the switchboard sees it, and its identity at the server."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from gen.chat import Error


class Caller:
    """A client with a token.

    Args:
        number: its name on the stream to the server.
        token: what it presented last.
        dismiss: is called when the server no longer believes it.
    """

    __slots__ = ("dismiss", "number", "token", "user_id")

    def __init__(self, number: int, token: str, dismiss: Callable[[Error], None]) -> None:
        self.number = number
        self.token = token
        self.user_id = ""
        self.dismiss = dismiss


class Client(ABC):
    """A connection, as the switchboard sees it.

    Attributes:
        connection: its name in the log.
        rooms: the rooms that it is in or about to enter.
        users: the users that it has sent as.
        caller: who it is, if it presented a token.
        traceparent: its trace (W3C), if it is sampled.
        write: queues a frame. Never fails, and never calls the switchboard back.
    """

    write: Callable[[bytes], None]

    connection: str = ""
    rooms: set[str]
    users: set[str]
    caller: Caller | None = None
    traceparent: str | None = None

    def may_be(self, user_id: str) -> bool:
        """Whether the server may take it for a user: one with a token is who that says."""
        return self.caller is None or self.caller.user_id == user_id

    def may_tell(self, error: Error) -> bool:  # noqa: ARG002 - of which it is
        """Notes that it was refused something; returns whether the log is to say so."""
        return True

    @abstractmethod
    def note_rate_limited(self) -> None:
        """Notes that the server refused it for asking too often. Calls nobody back."""

    @abstractmethod
    def dismiss(self, error: Error) -> None:
        """Closes the connection: who it is, is not believed. Calls nobody back."""
