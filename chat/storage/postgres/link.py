"""A link to a bus: what `hints` needs of it, and each kind of bus offers."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Sequence

Hear = Callable[[str | bytes], None]
"""Takes a payload that came on a channel that was subscribed to; it may be empty instead of one
of this link's own."""


class BusDown(Exception):
    """The bus cannot be used now; the text says why, without secrets, in one line."""


class Link(ABC):
    """A link to the bus, which works until it fails once.

    What can't be done raises `BusDown`, or any other exception: the link is then closed.

    Attributes:
        most_channels: how many channels are worth a payload each, when rooms of many changed.
        pause_seconds: how long hints are gathered after some were sent.
    """

    most_channels: int
    pause_seconds: float

    @abstractmethod
    async def subscribe(self, channels: Collection[str]) -> None:
        """Returns when what others publish from now on is heard."""

    @abstractmethod
    async def unsubscribe(self, channels: Collection[str]) -> None:
        """Ends subscriptions."""

    @abstractmethod
    async def publish(self, hints: Sequence[tuple[str, str]]) -> None:
        """Sends payloads, each to its channel."""

    async def check(self) -> None:  # noqa: B027 - there need not be any
        """Looks whether those parts of the bus answer that a probe does not reach."""

    @abstractmethod
    async def wait_broken(self) -> None:
        """Raises an exception when the link has failed; never returns."""

    @abstractmethod
    async def close(self) -> None:
        """Closes it, at once if the other side does not answer. Never fails."""


Connect = Callable[[Hear], Awaitable[Link]]
"""Opens a link; raises `BusDown` or any other exception if it can't be done."""
