"""Who is in the rooms of this node, told to other nodes: again from time to time.

A whisper may be lost, and a node that has just come has heard none. So each room is told when it
changed, at most once in a few seconds, and again after a while although it did not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from chat.core.attendance import State
from gen.chat import RoomPresence
from hosting.coalescing import Coalescer
from hosting.faults import Faults

WHISPER_SECONDS: Final = 5.0
"""How long after other nodes were told of a room they are told the next."""

AGAIN_SECONDS: Final = 30.0
"""How long after they were told of a room they are told the same again."""

_NOBODY: Final = State(0)


class Whispering:
    """Tells other nodes who is in rooms.

    Args:
        near: tells who is in a room, of this node's clients.
        whisper: tells other nodes.
        faults: logs failures.
    """

    def __init__(
        self,
        near: Callable[[str], State],
        whisper: Callable[[RoomPresence], None],
        faults: Faults,
    ) -> None:
        self._near = near
        self._whisper = whisper
        # What was told of each room, and when: the one that was told first comes first.
        self._told: dict[str, tuple[State, float]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._turns: Coalescer[str, None] = Coalescer(
            self._tell, lambda *_: None, lambda _: WHISPER_SECONDS, faults
        )

    def touch(self, room_id: str) -> None:
        """Tells of a room, now or soon, if it changed."""
        self._turns.add(room_id, None)

    def tell_all(self, room_ids: Iterable[str]) -> None:
        """Tells of rooms soon, whether they changed or not: a node has come."""
        for room_id in room_ids:
            self._told.pop(room_id, None)
            self.touch(room_id)

    def close(self) -> None:
        """Tells nothing any more."""
        self._turns.close()
        if self._timer is not None:
            self._timer.cancel()

    def _tell(self, room_id: str, _: None) -> None:
        state = self._near(room_id)
        now = asyncio.get_running_loop().time()
        before, at = self._told.get(room_id, (_NOBODY, now))
        if state == before and now - at < AGAIN_SECONDS:
            return
        self._told.pop(room_id, None)
        if state.count:
            self._told[room_id] = state, now
            self._set_timer()
        self._whisper(RoomPresence(room_id, state.count, list(state.user_ids)))

    def _set_timer(self) -> None:
        if self._timer is None and self._told:
            _, first = next(iter(self._told.values()))
            loop = asyncio.get_running_loop()
            # What is due may have to wait for its turn.
            at = max(first + AGAIN_SECONDS, loop.time() + 1.0)
            self._timer = loop.call_at(at, self._tell_again)

    def _tell_again(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        due = []
        for room_id, (_, at) in self._told.items():
            if at + AGAIN_SECONDS > now:
                break
            due.append(room_id)
        for room_id in due:
            self.touch(room_id)
        self._set_timer()
