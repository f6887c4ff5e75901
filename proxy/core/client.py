"""A client as the switchboard sees it, and its identity at the server."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from gen.chat import Error


class Caller:
    """The identity of a client with a token.

    Args:
        number: its client number on the stream to the server.
        token: the last token that was sent for it.
        dismiss: called when the server no longer believes the token.

    Attributes:
        user_id: the subject of the token, once the server has said so.
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
        connection_id: its id in the log.
        rooms: the rooms that it is in or about to enter.
        users: the users that it has sent as.
        caller: its identity, if it presented a token.
        traceparent: its trace (W3C), if it is sampled.
        write: queues a frame. Never fails, and never calls the switchboard back.
        write_news: the same with a frame that may be left out: it is, if much waits already.
            Returns whether it was queued.
    """

    write: Callable[[bytes], None]
    write_news: Callable[[bytes], bool]

    connection_id: str = ""
    rooms: set[str]
    users: set[str]
    caller: Caller | None = None
    traceparent: str | None = None

    def may_be(self, user_id: str) -> bool:
        """Whether it may send as a user: with a token, only as its subject."""
        return self.caller is None or self.caller.user_id == user_id

    def count_refusal(self, error: Error) -> bool:  # noqa: ARG002 - implementations use it
        """Counts a refusal. Returns whether to log it."""
        return True

    @abstractmethod
    def note_rate_limited(self) -> None:
        """Notes that the server refused a request as one too many. Calls nobody back."""

    @abstractmethod
    def dismiss(self, error: Error) -> None:
        """Closes the connection: its token is not believed. Calls nobody back."""
