"""Who types is told: to those who follow it, and to other nodes.

However many type, a room costs each that is told one frame a second at most
(`hosting.coalescing`). In large rooms nobody is told, and nothing is kept. A stream whose
mailbox is half full is left out: what it has been told ends by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from chat.core.encoded import Notice
from chat.core.membership import Following, Membership
from chat.core.rooms import Rooms
from chat.core.stream import LiveStream
from chat.core.typists import HOLD_SECONDS, Typing, TypingRooms
from chat.metrics import ServerMetrics
from gen.chat import Typists
from hosting.coalescing import Coalescer
from hosting.faults import Faults

TYPING_SECONDS: Final = 1.0
"""How long after a room was told who types it is told the next."""

MOST_IN_ROOM: Final = 200
"""In rooms with more members nobody is told who types."""


class TellingTypists:
    """Tells who types.

    Args:
        rooms: those who follow them.
        present: tells how many users are in a room.
        metrics: counts what is told.
        faults: logs failures: each costs one stream what was to be told to it.
        hold: how long whoever has said so types, in seconds.
        pace: how long after a room was told of it is told of again, in seconds.
    """

    def __init__(
        self,
        rooms: Rooms[LiveStream],
        present: Callable[[str], int],
        metrics: ServerMetrics,
        faults: Faults,
        hold: float = HOLD_SECONDS,
        pace: float = TYPING_SECONDS,
    ) -> None:
        self._rooms = rooms
        self._present = present
        self._whisper: Callable[[Typists], None] | None = None
        self._metrics = metrics
        self._faults = faults
        self._hold = hold
        self._typing: TypingRooms[LiveStream] = TypingRooms(hold)
        self._turns: Coalescer[str, None] = Coalescer(
            self._tell, lambda *_: None, lambda _: pace, faults
        )
        # When rooms in which somebody types are looked at.
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def whisper_by(self, whisper: Callable[[Typists], None]) -> None:
        """Tells other nodes, too, from now on."""
        self._whisper = whisper

    def types(self, stream: LiveStream, room_id: str, user_id: str) -> None:
        """Notes that a client says, by its own stream, that its user types."""
        self._metrics.typing += 1
        if not self._is_large(room_id):
            self._typing.types(room_id, stream, user_id, _now())
            self._turns.add(room_id, None)

    def told(self, link: LiveStream, typists: Typists) -> None:
        """Notes who types of a proxy's clients."""
        self._metrics.typing += 1
        room_id = typists.room_id
        if not self._is_large(room_id):
            self._typing.put(room_id, link, typists.user_ids, typists.others, _now())
            self._turns.add(room_id, None)

    def whispered(self, node: str, typists: Typists) -> None:
        """Notes who types of another node's clients."""
        room_id = typists.room_id
        if self._rooms.get(room_id) is not None and not self._is_large(room_id):
            self._typing.hear(room_id, node, typists.user_ids, typists.others, _now())
            self._turns.add(room_id, None)

    def lost(self, node: str) -> None:
        """Forgets another node."""
        for room_id in self._typing.lose(node):
            self._turns.add(room_id, None)

    def entered(self, stream: LiveStream, room_id: str, stay: Membership) -> None:
        """Tells a newcomer who types, if it follows that."""
        if isinstance(stay, Following) and stay.typing:
            typing = self._typing.now(room_id, _now())
            if typing:
                self._tell_one(stream, self._notice(room_id, typing), room_id)

    def left(self, stream: LiveStream, room_id: str) -> None:
        """Forgets who types by a stream that is no longer in the room."""
        if self._typing.leave(room_id, stream):
            self._turns.add(room_id, None)

    def forget(self, room_id: str) -> None:
        """Drops what waits: nobody is in the room."""
        self._typing.forget(room_id)
        self._turns.discard(room_id)
        self._set_timer(room_id, None)

    def close(self) -> None:
        """Tells nothing any more."""
        self._turns.close()
        for room_id in tuple(self._timers):
            self._set_timer(room_id, None)

    def _is_large(self, room_id: str) -> bool:
        room = self._rooms.get(room_id)
        members = 0 if room is None else len(room.members)
        return max(members, self._present(room_id)) > MOST_IN_ROOM

    def _tell(self, room_id: str, _: None) -> None:
        now = _now()
        if self._is_large(room_id):
            # Those who were told something hold it for a while only.
            self._typing.forget(room_id)
            self._set_timer(room_id, None)
            return
        try:
            self._tell_followers(room_id, now)
            self._tell_nodes(room_id, now)
        finally:
            self._set_timer(room_id, self._typing.look_at(room_id, now))

    def _tell_followers(self, room_id: str, now: float) -> None:
        typing = self._typing.for_followers(room_id, now)
        room = self._rooms.get(room_id)
        if typing is None or room is None or room.followers is None:
            return
        notice = self._notice(room_id, typing)
        for member, stay in room.followers:
            if stay.typing:
                self._tell_one(member, notice, room_id)

    def _tell_nodes(self, room_id: str, now: float) -> None:
        if self._whisper is not None:
            typing = self._typing.for_nodes(room_id, now)
            if typing is not None:
                self._whisper(self._message(room_id, typing))

    def _tell_one(self, member: LiveStream, notice: Notice, room_id: str) -> None:
        if member.is_behind:
            self._metrics.notices_skipped += 1
            return
        try:
            member.tell(notice)
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self._faults.log("notice failed", error, room_id=room_id)
        else:
            self._metrics.notices += 1

    def _notice(self, room_id: str, typing: Typing) -> Notice:
        return Notice.of_typists(self._message(room_id, typing))

    def _message(self, room_id: str, typing: Typing) -> Typists:
        hold_ms = round(self._hold * 1000) if typing else 0
        return Typists(room_id, list(typing.user_ids), typing.others, hold_ms)

    def _set_timer(self, room_id: str, at: float | None) -> None:
        timer = self._timers.pop(room_id, None)
        if timer is not None:
            timer.cancel()
        if at is not None:
            loop = asyncio.get_running_loop()
            self._timers[room_id] = loop.call_at(at, self._look_at, room_id)

    def _look_at(self, room_id: str) -> None:
        self._timers.pop(room_id, None)
        self._turns.add(room_id, None)


def _now() -> float:
    return asyncio.get_running_loop().time()
