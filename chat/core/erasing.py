"""Erasing users: step by step, until nothing is left of them, whatever comes in between.

A user may have sent a million messages, and each deletion is a change that followers are told.
So the store erases in steps (`Store.erase`), between which it serves everybody else. It notes
the first step durably. Who asked waits for a while; the erasure goes on without it. One that
fails, or was cut off by the end of its server, is found among those that were begun
(`Store.erasures`), at the start and then from time to time: that is the only way in which
anything is tried again.

Several nodes may erase the same user at once: a step of one finds its work done by the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from chat.metrics import ServerMetrics
from chat.storage.base import Erased, Store, StoreError
from hosting.faults import Faults
from hosting.logs import get_logger

log = get_logger(__name__)

_STEP: Final = 200
_LOOK_SECONDS: Final = 30.0


class _Job:
    """The erasure of one user, from now until it is done or fails.

    Attributes:
        messages: how many messages it has deleted so far.
        begun: whether the store has noted that it has to be done.
        error: why it failed.
        is_done: whether nothing of the user is left.
        task: does it; it raises nothing.
    """

    task: asyncio.Task[None]

    def __init__(self) -> None:
        self.messages = 0
        self.begun = False
        self.error: Exception | None = None
        self.is_done = False


class Erasing:
    """Erases users.

    Args:
        store: where they are.
        metrics: counts.
        faults: logs what goes wrong.
        look_seconds: how often it looks for erasures that somebody has to go on with.
    """

    def __init__(
        self,
        store: Store,
        metrics: ServerMetrics,
        faults: Faults,
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._faults = faults
        self._look_seconds = look_seconds
        self._jobs: dict[str, _Job] = {}

    async def erase(self, user_id: str, seconds: float) -> Erased:
        """Erases a user, for at most so long; then it goes on by itself.

        Returns:
            What was erased meanwhile, and whether that is all.

        Raises:
            Exception: what the store raised at the first step: it is not known to go on.
        """
        job = self._jobs.get(user_id) or self._start(user_id)
        before = job.messages
        await asyncio.wait({job.task}, timeout=seconds)
        if job.error is not None and not job.begun:
            raise job.error
        return Erased(job.messages - before, job.is_done)

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """Goes on with all that was begun while the context is open; then stops between steps."""
        looking = asyncio.create_task(self._look())
        try:
            yield
        finally:
            tasks = {looking, *(job.task for job in self._jobs.values())}
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _look(self) -> None:
        while True:
            try:
                begun = await self._store.erasures()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                self._failed("erasures not looked for", error)
            else:
                # One after the other: nobody waits for them.
                for user_id in begun:
                    await asyncio.wait({(self._jobs.get(user_id) or self._start(user_id)).task})
            await asyncio.sleep(self._look_seconds)

    def _start(self, user_id: str) -> _Job:
        job = self._jobs[user_id] = _Job()
        self._metrics.erasures += 1
        job.task = asyncio.create_task(self._run(user_id, job))
        return job

    async def _run(self, user_id: str, job: _Job) -> None:
        try:
            while not job.is_done:
                erased = await self._store.erase(user_id, _STEP)
                job.begun, job.is_done = True, erased.done
                job.messages += erased.messages
                self._metrics.erased_messages += erased.messages
        except Exception as error:  # noqa: BLE001 - it is noted, and found again
            job.error = error
            self._metrics.erasure_failures += 1
            self._failed("erasure failed", error)
        else:
            log.info("user erased", messages=job.messages)
        finally:
            del self._jobs[user_id]
            self._metrics.erasures -= 1

    def _failed(self, event: str, error: Exception) -> None:
        if isinstance(error, StoreError):
            # Such as a database that is away: no defect.
            log.warning(event, reason=str(error))
        else:
            self._faults.log(event, error)
