"""Whether a store takes what is to be stored, and who is told when that changes.

::

    SERVING ──refuse──▶ REFUSING        what is appended fails with `StoreError`, for now
       ▲                   │
       └──────serve────────┘
    any ──fail──▶ FATAL                 nothing is stored any more: the process has to stop
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum

from hosting.logs import get_logger

log = get_logger(__name__)


class State(Enum):
    """What a store does with what is to be stored.

    Attributes:
        SERVING: stores it.
        REFUSING: cannot at the moment; the same may succeed later.
        FATAL: never will again in this process, since to go on would do harm.
    """

    SERVING = "serving"
    REFUSING = "refusing"
    FATAL = "fatal"


class StoreHealth:
    """The state of a store, set by whatever thread notices that it changed.

    The server's health service and the metrics follow it. Each change is one line in the
    log; of what is set again, with the same reason, nobody is told.
    """

    def __init__(self) -> None:
        # One attribute, so that other threads see both or neither.
        self._now = State.SERVING, ""
        self._listeners: list[tuple[asyncio.AbstractEventLoop, Callable[[], None]]] = []

    @property
    def state(self) -> State:
        """What it does."""
        return self._now[0]

    @property
    def reason(self) -> str:
        """Why it does not serve, for an operator; empty while it does."""
        return self._now[1]

    @property
    def is_serving(self) -> bool:
        """Whether it stores what it is given."""
        return self.state is State.SERVING

    def serve(self) -> None:
        """It stores again; after `fail` it never does."""
        if self.state is State.REFUSING:
            self._change(State.SERVING, "")
            log.info("store takes writes again")

    def refuse(self, reason: str) -> None:
        """It cannot store anything for now.

        Args:
            reason: what happened and what helps, for the log.
        """
        if self.state is not State.FATAL and self.reason != reason:
            self._change(State.REFUSING, reason)
            log.error("store refuses writes", reason=reason)

    def fail(self, reason: str) -> None:
        """It will store nothing any more: the server stops, and its process ends with status 1.

        Args:
            reason: what happened and what helps, for the log.
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
