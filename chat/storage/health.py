"""Whether a store takes writes, and listeners to changes of that.

::

    SERVING ──refuse──▶ REFUSING        writes fail with `StoreError`, for now
       ▲                   │
       └──────serve────────┘
    any ──fail──▶ FATAL                 nothing is stored any more: the process has to stop
"""

import asyncio
from collections.abc import Callable
from enum import Enum

from hosting.logs import get_logger

log = get_logger(__name__)


class State(Enum):
    """The state of a store.

    Attributes:
        SERVING: takes writes.
        REFUSING: refuses writes; the same may succeed later.
        FATAL: takes none any more in this process, since to go on would do harm.
    """

    SERVING = "serving"
    REFUSING = "refusing"
    FATAL = "fatal"


class StoreHealth:
    """The state of a store; any thread may set it.

    The server's health service and the metrics follow it. Each change is one line in the
    log; to set the same state again, with the same reason, is no change.
    """

    def __init__(self) -> None:
        # One attribute, so that other threads see both or neither.
        self._now = State.SERVING, ""
        self._listeners: list[tuple[asyncio.AbstractEventLoop, Callable[[], None]]] = []

    @property
    def state(self) -> State:
        """The state."""
        return self._now[0]

    @property
    def reason(self) -> str:
        """The reason for not serving, for an operator; else empty."""
        return self._now[1]

    @property
    def is_serving(self) -> bool:
        """Whether it takes writes."""
        return self.state is State.SERVING

    def serve(self) -> None:
        """Sets SERVING, unless the state is FATAL."""
        if self.state is State.REFUSING:
            self._change(State.SERVING, "")
            log.info("store takes writes again")

    def refuse(self, reason: str) -> None:
        """Sets REFUSING, unless the state is FATAL.

        Args:
            reason: the cause and the remedy, for the log.
        """
        if self.state is not State.FATAL and self.reason != reason:
            self._change(State.REFUSING, reason)
            log.error("store refuses writes", reason=reason)

    def fail(self, reason: str) -> None:
        """Sets FATAL: the server stops, and its process ends with status 1.

        Args:
            reason: the cause and the remedy, for the log.
        """
        if self.state is not State.FATAL:
            self._change(State.FATAL, reason)
            log.error("store failed", reason=reason)

    def watch(self, listener: Callable[[], None]) -> None:
        """Calls a listener in this event loop after each change, until the store is closed."""
        self._listeners.append((asyncio.get_running_loop(), listener))

    def _change(self, state: State, reason: str) -> None:
        self._now = state, reason
        for loop, listener in self._listeners:
            loop.call_soon_threadsafe(listener)
