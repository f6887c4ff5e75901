"""Hints to other nodes that rooms have new messages or changes, over any bus.

A hint is a room and its new head. It wakes those who follow the room; what was stored they
read from the table, which is the truth. So a hint may be lost, late, doubled, out of order or
wrong: that costs a moment (the next sweep finds what it would have told), or a look in vain.
From this follows all else here:

- Marks of users come with them: those are told whole, and not read from the table. So are
  whispers, which no table has: who types, and who is there.
- An append never waits for the bus. What is to be told is put aside (`tell`) and sent once
  the append was acknowledged, all rooms together; while one sending is under way, the next ones
  are merged, and those that others hardly need wait for a while (see `pace`). If the bus is
  down, nothing is kept.
- A node listens only to channels of rooms that it follows (see `hint_payloads`), so that a room
  that nobody follows costs other nodes nothing.
- Whoever begins to follow a room listens first, and reads its head then (`listen`). It waits
  until the bus has confirmed that, but not for a bus that is down or slow: whenever the bus
  begins to work, what was missed before is looked for (`sweep_soon`).
- A link that fails in any way is given up, and another one is made, all subscriptions anew.
- A bus may fail without a word. Each node sends a probe every few seconds, which comes back to it.
  If it hears nothing for too long, it makes another link.
- Probes also show each node that there are others. Who hears a new one answers with its own, and
  looks for what that one has stored before. As long as there are none, nothing is told.
- A node that is closed says so; one that misses its probes is lost, too. Of one that was away,
  or whose whispers were not heard while this node was, all of them are wanted anew (`met`).
"""

import asyncio
import random
import time
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from chat.metrics import StoreMetrics
from chat.storage.listener import UserMark, Whisper
from chat.storage.postgres.hint_payloads import Told, goodbye, payloads, probe, read
from chat.storage.postgres.link import BusDown, Connect, Link
from chat.storage.postgres.neighbours import Neighbours, link_name, node_of
from chat.storage.postgres.pace import Pace
from chat.storage.postgres.subscriptions import Subscriptions
from chat.storage.postgres.untold import Untold
from hosting.logs import get_logger

log = get_logger(__name__)

# How many probes of other nodes may be lost before there are none.
_MISSED_PROBES: Final = 3
# How long it may take to say that the node is gone.
_LEAVE_SECONDS: Final = 1.0
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 5.0


class Listener(Protocol):
    """Who wants hints."""

    def hear(self, told: Told) -> None:
        """Takes what another node told."""

    def sweep_soon(self) -> None:
        """Looks for what hints may have failed to tell."""

    def met(self, node: str) -> None:
        """Takes that a node is there, which may have heard no whisper of before."""

    def lost(self, node: str) -> None:
        """Takes that a node is gone."""


class Hints:
    """The link of a node to the bus, kept up.

    Args:
        connect: opens a link.
        listener: takes what other nodes tell.
        probe_seconds: how often a probe is sent.
        answer_seconds: how long the bus may take for anything before it counts as dead.

    Attributes:
        is_up: whether there is a link.
        name: of the link, unlike that of any other.
        heard_at: when the bus brought anything last, by the monotonic clock.
        others: the other nodes.
    """

    def __init__(
        self,
        connect: Connect,
        listener: Listener,
        metrics: StoreMetrics,
        probe_seconds: float,
        answer_seconds: float = 5.0,
    ) -> None:
        self._connect = connect
        self._listener = listener
        self._metrics = metrics
        self._probe_seconds = probe_seconds
        self._answer_seconds = answer_seconds
        self._node = uuid.uuid4().hex[:16]
        self._links = 0
        self.name = ""
        self.is_up = False
        self._tried = False
        self._why = ""
        self.heard_at = time.monotonic()
        self.others = Neighbours()
        self._subscriptions = Subscriptions(listener.sweep_soon, answer_seconds)
        self._pace = Pace()
        self._later: asyncio.TimerHandle | None = None
        self._probing = False
        self._proven = False
        self._up_at = 0.0
        self._renewed = asyncio.Event()
        self._untold = Untold()
        self._leaving = False
        self._left = asyncio.Event()
        self._to_tell = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins to make links."""
        self._tasks = [asyncio.create_task(self._keep_up()), asyncio.create_task(self._measure())]

    async def close(self) -> None:
        """Ends all of it; tells what was not told yet, and that the node is gone."""
        if self.is_up and self.others:
            self._leaving = True
            self._to_tell.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LEAVE_SECONDS):
                    await self._left.wait()
        self._tell_no_later()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def listen(self, channel: str) -> None:
        """Begins to listen to a channel; returns when it is heard, or when that would take long."""
        await self._subscriptions.add(channel, waits=self.is_up or not self._tried)

    def ignore(self, channel: str) -> None:
        """Listens to a channel no longer."""
        self._subscriptions.discard(channel)

    def tell(self, heads: Mapping[str, int], *, met_others: bool = False) -> None:
        """Tells other nodes the new heads of rooms, soon, if there are any. Never blocks.

        Args:
            heads: by room.
            met_others: whether other nodes have appended to any of them at the same time.
        """
        if not self.tells:
            return
        self._untold.add_heads(heads)
        now = time.monotonic()
        if met_others:
            self._pace.met_others(now)
        if not (pause := self._pace.pause(now)):
            self._to_tell.set()
        elif self._later is None:
            self._later = asyncio.get_running_loop().call_later(pause, self._to_tell.set)

    def tell_changes(self, changes: Mapping[str, int]) -> None:
        """Tells them the numbers of the newest changes of rooms, likewise."""
        if self.tells:
            self._untold.add_changes(changes)
            self._to_tell.set()

    def tell_marks(self, marks: Sequence[UserMark]) -> None:
        """Tells them how far users have read, likewise."""
        if self.tells:
            self._untold.add_marks(marks)
            self._to_tell.set()

    def whisper(self, whisper: Whisper) -> None:
        """Tells those that were heard who types or is there, likewise."""
        # Others are told all anew once they are heard.
        if self.is_up and self.others:
            self._untold.add_whisper(whisper)
            self._to_tell.set()

    @property
    def tells(self) -> bool:
        """Whether there is a link, and perhaps somebody who listens."""
        # At first, as others need not have answered yet.
        is_new = time.monotonic() - self._up_at <= self._probe_seconds
        return self.is_up and (is_new or bool(self.others))

    def renew(self) -> None:
        """Makes another link: the one that there is may lead to the wrong server."""
        self._renewed.set()

    async def _keep_up(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            began = time.monotonic()
            try:
                await self._use_link()
            except Exception as error:  # noqa: BLE001 - whatever it is, another link is made
                self._note_failure(error)
            if time.monotonic() - began > _LONGEST_PAUSE_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _use_link(self) -> None:
        """Opens a link and uses it; raises an exception when that fails."""
        # A new name: others are to look for what was not told while there was no link.
        self._links += 1
        self.name = link_name(self._node, self._links)
        try:
            async with asyncio.timeout(self._answer_seconds):
                link = await self._connect(self._hear)
            try:
                await self._subscriptions.begin(link)
                self._went_up()
                await _until_one_fails(
                    self._subscriptions.keep(link),
                    self._publish(link),
                    self._probe(link),
                    self._wait_renewed(),
                    link.wait_broken(),
                )
            finally:
                await link.close()
        finally:
            self._went_down()

    def _went_up(self) -> None:
        self.heard_at = self._up_at = time.monotonic()
        self._renewed.clear()
        self._proven = False
        self.is_up = self._tried = True

    def _went_down(self) -> None:
        self.is_up = False
        self._tried = True
        self._untold.clear()
        self._subscriptions.end()

    def _note_failure(self, error: Exception) -> None:
        why = str(error) if isinstance(error, BusDown) else repr(error)
        if isinstance(error, TimeoutError):
            why = "it does not answer"
        # Each try would tell the same.
        if why != self._why:
            log.warning("no hints from other nodes: their messages come later", why=why)
        self._why = why

    async def _publish(self, link: Link) -> None:
        while True:
            await self._to_tell.wait()
            self._to_tell.clear()
            self._tell_no_later()
            self._pace.told(time.monotonic())
            is_last = self._leaving
            hints = self._next_hints(link)
            if is_last:
                hints.append(goodbye(self.name))
            if hints:
                async with asyncio.timeout(self._answer_seconds):
                    await link.publish(hints)
                if is_last:
                    self._left.set()
                # What comes meanwhile goes together.
                await asyncio.sleep(link.pause_seconds)

    def _tell_no_later(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def _next_hints(self, link: Link) -> list[tuple[str, str]]:
        hints = list(payloads(self._untold.take(self.name), link.most_channels))
        if self._untold:
            self._to_tell.set()
        if self._probing:
            self._probing = False
            hints.append(probe(self.name))
        return hints

    async def _probe(self, link: Link) -> None:
        while True:
            self._send_probe()
            self._forget_silent()
            async with asyncio.timeout(self._answer_seconds):
                await link.check()
            await asyncio.sleep(self._probe_seconds)
            if time.monotonic() - self.heard_at > self._probe_seconds + self._answer_seconds:
                raise BusDown("not even this node's own hints come back")

    def _send_probe(self) -> None:
        self._probing = True
        self._to_tell.set()

    def _forget_silent(self) -> None:
        patience = _MISSED_PROBES * self._probe_seconds + self._answer_seconds
        # What was told while there was no link could not be heard.
        if time.monotonic() - self._up_at > patience:
            for node in self.others.forget_silent(time.monotonic() - patience):
                self._listener.lost(node)

    async def _wait_renewed(self) -> None:
        await self._renewed.wait()
        raise BusDown("the database is on another server")

    async def _measure(self) -> None:
        while True:
            self._metrics.hint_age_seconds = time.monotonic() - self.heard_at
            await asyncio.sleep(min(1.0, self._probe_seconds))

    def _hear(self, payload: str | bytes) -> None:
        self.heard_at = time.monotonic()
        told = read(payload) if payload else Told(self.name)
        node = told.node
        if node == self.name:
            self._prove()
        elif node and told.is_gone:
            if self.others.leave(node):
                self._listener.lost(node_of(node))
        elif node:
            if self.others.hear(node, self.heard_at):
                # It is to know that there is this one; and before it came, it told nothing.
                self._send_probe()
                self._listener.sweep_soon()
                self._listener.met(node_of(node))
            if told.has_news:
                self._listener.hear(told)

    def _prove(self) -> None:
        """Notes that the link works: others have been told that this node listens."""
        if not self._proven:
            self._proven = True
            self._why = ""
            log.info("hints are exchanged with other nodes")
            self._listener.sweep_soon()
            # Those that are known from before have missed whispers, as this node has theirs: they
            # see its new name.
            for other in self.others:
                self._listener.met(other)


async def _until_one_fails(*works: Coroutine[Any, Any, None]) -> None:
    """Does what never ends, all at once, until one of it fails; raises its exception.

    A `TaskGroup` leaves the task that waits for it counted as cancelled (before Python 3.13), and
    what is counted so is ended by its next time limit (before 3.11.3): no link was made any more.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
