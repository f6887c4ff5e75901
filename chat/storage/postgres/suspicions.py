"""What makes a node look at its database anew, while its connections seem to be well.

==========================================  ==================================================
what was noticed                            what is done
==========================================  ==================================================
a heartbeat or a fetch finds another epoch  the history is judged (see `admission`)
history is missing                          it is judged with that doubt: another epoch begins
a heartbeat is not answered                 another connection is tried: if that leads to the
                                            server that is known, it lives, and something else
                                            held the heartbeat up; else all connections are
                                            dropped
==========================================  ==================================================

Each is done by a task that goes on, so that whoever noticed it need not wait, and until it
succeeds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from chat.storage.base import StoreError
from chat.storage.postgres.admission import Admission, Doubt
from chat.storage.postgres.connections import Connector, close
from chat.storage.postgres.epoch import Meta
from chat.storage.postgres.errors import FAILURES, text_of
from chat.storage.postgres.supervised import go_on
from hosting.logs import get_logger

log = get_logger(__name__)

_ANSWER_SECONDS: Final = 2.0


class Suspicions:
    """The looks at a database, from `start` to `close`.

    Args:
        connector: opens connections.
        admission: judges them.
        on_gone: is called when the server of the connections that are open does not answer.
    """

    def __init__(
        self, connector: Connector, admission: Admission, on_gone: Callable[[], None]
    ) -> None:
        self._connector = connector
        self._admission = admission
        self._on_gone = on_gone
        self._doubt: Doubt | None = None
        self._doubted = asyncio.Event()
        self._silent = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins to look when something is noticed."""
        self._tasks = [
            asyncio.create_task(go_on("a look at a doubtful history", self._settle_doubt)),
            asyncio.create_task(go_on("a look for a silent database", self._settle_silence)),
        ]

    async def close(self) -> None:
        """Ends what is under way."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def miss(self, rooms: Mapping[str, int], what: str = "position") -> None:
        """Takes note that history is missing behind positions of rooms, or behind changes."""
        room_id, number = next(iter(rooms.items()))
        reason = f"history is missing behind {what} {number} of room {room_id}"
        self._doubt = Doubt(self._admission.epoch, reason)
        self._doubted.set()

    def hear(self, meta: Meta) -> None:
        """Takes what a heartbeat found."""
        # Of a server that was not judged yet it says nothing of the one before.
        if meta.claim.server == self._admission.server:
            self._admission.claim = meta.claim
        if meta.epoch != self._admission.epoch:
            self._doubted.set()

    def look(self) -> None:
        """Takes note that the history may be another one."""
        self._doubted.set()

    def notice_silence(self) -> None:
        """Takes note that a heartbeat was not answered."""
        self._silent.set()

    async def _settle_doubt(self) -> None:
        await self._doubted.wait()
        self._doubted.clear()
        doubt, self._doubt = self._doubt, None
        try:
            await self._judge(doubt)
        except BaseException:
            if self._doubt is None:
                self._doubt = doubt
            self._doubted.set()
            raise

    async def _judge(self, doubt: Doubt | None) -> None:
        try:
            judge = partial(self._admission.judge, doubt=doubt)
            await close(await self._connector.connect(judge))
        except FAILURES as error:
            raise StoreError(text_of(error)) from error

    async def _settle_silence(self) -> None:
        await self._silent.wait()
        self._silent.clear()
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await close(await self._connector.connect(self._admission.insist))
        except (*FAILURES, StoreError) as error:
            log.warning(
                "the database does not answer: its connections are dropped", why=text_of(error)
            )
            self._on_gone()
