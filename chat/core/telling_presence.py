"""Who is in rooms, told: to those who follow it, and to other nodes; and asked of proxies.

Those who follow a room are told all of it: soon after they came, and then when it changed, at
most once in a few seconds for each room, the first change at once. A stream whose mailbox is half
full is left out, and told with the next turn.

Proxies name their users only where somebody wants to know them: they are told so, also by a call
that asks who is in a room, for a while. Other nodes are told in any case (`whispering`).
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Final

from chat.core.attendance import LINGER_SECONDS, Attendance, State
from chat.core.encoded import Notice
from chat.core.membership import Following
from chat.core.rooms import Rooms
from chat.core.stream import LiveStream
from chat.core.watching import Watch
from chat.core.whispering import Whispering
from chat.metrics import ServerMetrics
from gen.chat import RoomPresence, Wanted
from hosting.alarm import Alarm
from hosting.coalescing import Coalescer
from hosting.faults import Faults

PRESENCE_SECONDS: Final = 5.0
"""How long after those who follow a room were told who is there they are told the next."""

ASKED_SECONDS: Final = 60.0
"""How long proxies name their users in a room after a call asked who is there."""

MOST_ASKED: Final = 1000
"""In so many rooms at most; the one of which a call asked first gives way."""


class TellingPresence:
    """Knows and tells who is in rooms.

    Args:
        rooms: those who follow them.
        metrics: counts what is told.
        faults: logs failures: each costs one stream what was to be told to it.
        linger: how long users are in a room whose last client has gone, in seconds.
        pace: how long after a room was told of it is told of again, in seconds.
    """

    def __init__(
        self,
        rooms: Rooms[LiveStream],
        metrics: ServerMetrics,
        faults: Faults,
        linger: float = LINGER_SECONDS,
        pace: float = PRESENCE_SECONDS,
    ) -> None:
        self._rooms = rooms
        self._metrics = metrics
        self._faults = faults
        self._attendance: Attendance[LiveStream] = Attendance(linger)
        self._watches: dict[str, Watch[LiveStream]] = {}
        self._asked: dict[str, asyncio.TimerHandle] = {}
        self._links: dict[LiveStream, None] = {}
        # When somebody goes whose time has come.
        self._alarm = Alarm(self._expire)
        self._turns: Coalescer[str, None] = Coalescer(
            self._tell, lambda *_: None, lambda _: pace, faults
        )
        self._nodes: Whispering | None = None

    def __len__(self) -> int:
        """How many rooms somebody is in."""
        return len(self._attendance)

    def whisper_by(self, whisper: Callable[[RoomPresence], None]) -> None:
        """Tells other nodes, too, from now on."""
        self._nodes = Whispering(self._attendance.near, whisper, self._faults)

    @property
    def watched(self) -> int:
        """How many rooms there are of which somebody wants to know who is there."""
        return len(self._watches)

    # What handlers ask.

    def count(self, room_id: str) -> int:
        """How many users are in a room, as far as it is known."""
        return self._attendance.count(room_id)

    def has(self, room_id: str, user_id: str) -> bool:
        """Whether a user is known to be in a room."""
        return self._attendance.is_in(room_id, user_id)

    async def names(self, room_id: str, after_id: str, limit: int) -> list[str]:
        """Returns users that are in a room, in the order of ids.

        Not all may be known: a proxy names some hundreds in each room, another node some fifty.
        Proxies that were not asked for names before are asked now: that may take a second.

        Args:
            room_id: the room.
            after_id: only those whose id sorts behind this.
            limit: how many at most.
        """
        if self._links_in(room_id):
            self._ask(room_id)
        watch = self._watches.get(room_id)
        until = watch.owed_until(_now()) if watch is not None else None
        if watch is not None and until is not None:
            settled = watch.settled = watch.settled or asyncio.get_running_loop().create_future()
            await asyncio.wait({settled}, timeout=until - _now())
        users = self._attendance.users(room_id)
        return heapq.nsmallest(limit, (each for each in users if each > after_id))

    # What streams do.

    def entered(self, stream: LiveStream, room_id: str, user_id: str) -> None:
        """Notes that a stream is in a room.

        Args:
            stream: the stream; if it was there already, it still is.
            room_id: the room.
            user_id: for whom; empty for nobody. Those of a proxy are told by itself.
        """
        is_known = room_id in self._watches
        if stream.is_link:
            self._links[stream] = None
        elif user_id:
            self._attendance.enter(room_id, stream, user_id)
        self._review(room_id)
        watch = self._watches.get(room_id)
        if watch is not None:
            if stream.is_link and is_known:
                self._want(stream, room_id, watch)
            stay = stream.rooms.get(room_id)
            if isinstance(stay, Following) and stay.presence:
                watch.newcomers[stream] = None
        self._touch(room_id)

    def speaks(self, stream: LiveStream, room_id: str, user_id: str) -> None:
        """Notes that a client's stream has sent as a user, in a room that it is in."""
        if self._attendance.has(room_id, stream, user_id):
            return
        if self._attendance.enter(room_id, stream, user_id):
            self._touch(room_id)

    def told(self, link: LiveStream, presence: RoomPresence) -> None:
        """Notes who is in a room of a proxy's clients; it was checked."""
        room_id, user_ids, count = presence.room_id, presence.user_ids, presence.count
        watch = self._watches.get(room_id)
        if watch is None:
            user_ids = []
        elif user_ids or not count:
            watch.paid(link)
        self._attendance.put(room_id, link, count, user_ids, _now())
        self._set_timer()
        self._touch(room_id)

    def left(self, stream: LiveStream, room_id: str) -> None:
        """Notes that a stream is not in a room any more; its users go after a while."""
        if self._attendance.leave(room_id, stream, _now()):
            self._set_timer()
        watch = self._watches.get(room_id)
        if watch is not None:
            watch.forget(stream)
            self._review(room_id)

    def closed(self, stream: LiveStream) -> None:
        """Forgets a stream, which has left all rooms."""
        self._links.pop(stream, None)

    # What other nodes tell.

    def whispered(self, node: str, presence: RoomPresence) -> None:
        """Notes who is in a room of another node's clients."""
        room_id = presence.room_id
        self._attendance.hear(room_id, node, presence.count, presence.user_ids, _now())
        self._set_timer()
        self._touch_followers(room_id)

    def met(self, _: str) -> None:
        """Tells all anew: another node may have missed it."""
        if self._nodes is not None:
            self._nodes.tell_all(list(self._attendance))

    def lost(self, node: str) -> None:
        """Notes that another node is gone; its users go after a while."""
        self._attendance.lose(node, _now())
        self._set_timer()

    def close(self) -> None:
        """Tells nothing any more."""
        self._turns.close()
        if self._nodes is not None:
            self._nodes.close()
        for watch in self._watches.values():
            watch.end()
        self._alarm.close()
        for timer in self._asked.values():
            timer.cancel()

    # Who is told.

    def _touch(self, room_id: str) -> None:
        """Tells of a room, now or soon, if it changed."""
        if self._nodes is not None:
            self._nodes.touch(room_id)
        self._touch_followers(room_id)

    def _touch_followers(self, room_id: str) -> None:
        watch = self._watches.get(room_id)
        if watch is None or self._waits(room_id, watch):
            return
        watch.end()
        self._turns.add(room_id, None)
        # Those who came since the last turn need not wait for the next one.
        newcomers, watch.newcomers = watch.newcomers, {}
        if newcomers:
            state = self._attendance.state(room_id)
            notice = _notice(room_id, state)
            for stream in newcomers:
                if not self._tell_one(stream, notice, room_id) or state != watch.told:
                    watch.behind[stream] = None
            if watch.behind:
                self._turns.add(room_id, None)

    def _waits(self, room_id: str, watch: Watch[LiveStream]) -> bool:
        """Whether a proxy is yet to name its users; then the room is looked at again later."""
        until = watch.owed_until(_now())
        if until is None:
            return False
        if watch.timer is None:
            # If one is to be waited for longer, that is seen when this is over.
            loop = asyncio.get_running_loop()
            watch.timer = loop.call_at(until, self._owed_no_longer, room_id, watch)
        return True

    def _owed_no_longer(self, room_id: str, watch: Watch[LiveStream]) -> None:
        watch.timer = None
        self._touch_followers(room_id)

    def _tell(self, room_id: str, _: None) -> None:
        watch, room = self._watches.get(room_id), self._rooms.get(room_id)
        if watch is None or room is None or room.followers is None:
            return
        if self._waits(room_id, watch):
            # It comes back then, and need not wait for another turn.
            self._turns.discard(room_id)
            return
        state = self._attendance.state(room_id)
        if state == watch.told:
            members = [stream for stream in watch.behind if stream in room.followers]
        else:
            members = [stream for stream, stay in room.followers if stay.presence]
            watch.newcomers = {}
        watch.told, watch.behind = state, {}
        notice = _notice(room_id, state)
        for stream in members:
            if not self._tell_one(stream, notice, room_id):
                watch.behind[stream] = None
        if watch.behind:
            self._turns.add(room_id, None)

    def _tell_one(self, stream: LiveStream, notice: Notice, room_id: str) -> bool:
        """Tells a stream; returns whether it is not to be told again."""
        if stream.is_behind:
            self._metrics.notices_skipped += 1
            return False
        try:
            stream.tell(notice)
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self._faults.log("notice failed", error, room_id=room_id)
        else:
            self._metrics.notices += 1
        return True

    # What is wanted of proxies.

    def _review(self, room_id: str) -> None:
        """Begins or ends to want to know who is in a room."""
        room = self._rooms.get(room_id)
        followers = room.followers if room is not None else None
        wanted = room_id in self._asked or (followers is not None and followers.watchers > 0)
        watch = self._watches.get(room_id)
        if wanted and watch is None:
            watch = self._watches[room_id] = Watch()
            for link in self._links_in(room_id):
                self._want(link, room_id, watch)
        elif watch is not None and not wanted:
            watch.end()
            del self._watches[room_id]
            self._turns.discard(room_id)
            for link in self._links_in(room_id):
                self._tell_link(link, Wanted(room_id, presence=False))

    def _want(self, link: LiveStream, room_id: str, watch: Watch[LiveStream]) -> None:
        watch.owe(link, _now())
        self._tell_link(link, Wanted(room_id, presence=True))

    def _tell_link(self, link: LiveStream, wanted: Wanted) -> None:
        try:
            link.tell(Notice.of_wanted(wanted))
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self._faults.log("notice failed", error, room_id=wanted.room_id)

    def _links_in(self, room_id: str) -> list[LiveStream]:
        return [link for link in self._links if room_id in link.rooms]

    def _ask(self, room_id: str) -> None:
        timer = self._asked.pop(room_id, None)
        if timer is not None:
            timer.cancel()
        elif len(self._asked) >= MOST_ASKED:
            # Whoever asks for many rooms may not keep the names of others from being asked for.
            self._unask(next(iter(self._asked)))
        loop = asyncio.get_running_loop()
        self._asked[room_id] = loop.call_later(ASKED_SECONDS, self._unask, room_id)
        self._review(room_id)

    def _unask(self, room_id: str) -> None:
        self._asked.pop(room_id).cancel()
        self._review(room_id)

    # Who goes.

    def _set_timer(self) -> None:
        at = self._attendance.next_at()
        if at is not None:
            self._alarm.set(at)

    def _expire(self) -> None:
        try:
            for room_id in self._attendance.expire(_now()):
                self._touch(room_id)
        finally:
            self._set_timer()


def _notice(room_id: str, state: State) -> Notice:
    return Notice.of_presence(RoomPresence(room_id, state.count, list(state.user_ids)))


def _now() -> float:
    return asyncio.get_running_loop().time()
