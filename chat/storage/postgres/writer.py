"""The writer: group commit over all rooms, one batch in flight.

How it works. There is one task and one queue::

    callers               writer task                             database
    -------               -----------                             --------
    put(job) --> queue --> take what is queued, up to 256 KiB
                           one statement (see `appender`) -------> locks, positions, one commit
                           announce (see `following`)    <-------- positions, what others stored
             <-- futures

- All that was queued while one commit ran goes into the next, so nobody waits for a timer.
- While the database is gone, jobs wait for it `appender.PATIENCE_SECONDS`. Then they fail:
  whoever sent them may try again. When nothing is queued, it is looked whether it is back.
- A message that can't be stored for what is in it fails alone.
- Whatever else goes wrong, each job ends with an error: nobody waits for ever.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from chat.storage.base import StoreError, Unstorable
from chat.storage.health import StoreHealth
from chat.storage.postgres.appender import PATIENCE_SECONDS, Appender
from chat.storage.postgres.batch import Outcomes
from chat.storage.postgres.commit_watch import CommitWatch
from chat.storage.postgres.errors import FAILURES, fault_of, text_of
from chat.storage.postgres.extras import added, mentioned
from chat.storage.postgres.following import Following
from chat.storage.results import finish
from codec.columns import utf8_length
from gen.chat import ChatMessage
from hosting.logs import get_logger

log = get_logger(__name__)

CLOSE_SECONDS: Final = 10.0
"""How long a commit may take at the end, before it is given up."""
# How often it is looked whether the database is back, when nobody stores anything.
_PROBE_SECONDS: Final = 1.0
# How many bytes one commit takes, if it is not a single job: a bound on its time, and
# on what the readers of one room are brought at once.
_COMMIT_BYTES: Final = 256 * 1024
# The memory of a message beside its text, with all that is kept about it on its way.
_MESSAGE_OVERHEAD: Final = 1024


class Job:
    """Messages of one call of `append`, and its future.

    Attributes:
        size: the bytes that they take in the queue, roughly.
        came: when, by the monotonic clock.
    """

    __slots__ = ("came", "future", "messages", "size")

    def __init__(
        self, messages: Sequence[ChatMessage], future: asyncio.Future[list[ChatMessage]]
    ) -> None:
        self.messages = messages
        self.future = future
        self.came = time.monotonic()
        self.size = len(messages) * _MESSAGE_OVERHEAD
        for message in messages:
            self.size += utf8_length(message.content)


class Writer:
    """The task and its queue.

    Args:
        appender: stores.
        watch: knows how long a commit has taken.
        following: knows what was announced.
        on_done: is told of how many bytes jobs were that ended, before their futures end.
    """

    def __init__(
        self,
        appender: Appender,
        watch: CommitWatch,
        following: Following,
        health: StoreHealth,
        on_done: Callable[[int], None],
    ) -> None:
        self._appender = appender
        self._watch = watch
        self._following = following
        self._health = health
        self._on_done = on_done
        self._queue: deque[Job] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        watch.add_listener(self._expire)

    def start(self) -> None:
        """Starts the task."""
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(self._ended)

    def put(self, job: Job) -> None:
        """Queues a job; its future ends with its result, or with `StoreError`."""
        self._queue.append(job)
        self._wake.set()

    async def close(self) -> None:
        """Does what is queued; gives a commit up that takes too long."""
        self._closing = True
        self._wake.set()
        if self._task is None:
            return
        while not (await asyncio.wait([self._task], timeout=_PROBE_SECONDS))[0]:
            if self._watch.seconds > CLOSE_SECONDS:
                log.error("commit given up, as the server stops: it may be stored or not")
                self._appender.give_up()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Fails what is queued, if the task has ended by itself: nobody would answer it."""
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None:
            jobs, self._queue = list(self._queue), deque()
            self._break_down(jobs, RuntimeError(f"the task of the writer ended: {error!r}"))

    async def _run(self) -> None:
        while not (self._closing and not self._queue):
            jobs: list[Job] = []
            try:
                jobs = await self._next_jobs()
                # There are none when the store is closed.
                outcomes = await self._store(jobs) if jobs else {}
            except Exception as error:  # noqa: BLE001 - else nobody would be answered again
                self._on_done(sum(job.size for job in jobs))
                self._break_down(jobs, error)
                await asyncio.sleep(_PROBE_SECONDS)
            else:
                # In a moment: the next statement can be on its way by then.
                asyncio.get_running_loop().call_soon(self._end, jobs, outcomes)

    async def _next_jobs(self) -> list[Job]:
        """Waits for jobs; there are none when the store is closed."""
        while not self._queue and not self._closing:
            self._wake.clear()
            try:
                async with asyncio.timeout(_PROBE_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                if not self._appender.is_well:
                    await self._appender.probe()
        jobs: list[Job] = []
        size = 0
        while self._queue and size < _COMMIT_BYTES:
            jobs.append(self._queue.popleft())
            size += jobs[-1].size
        return jobs

    async def _store(self, jobs: Sequence[Job]) -> Outcomes:
        messages = [message for job in jobs for message in job.messages]
        return await self._outcomes(messages, min(job.came for job in jobs))

    async def _outcomes(self, messages: Sequence[ChatMessage], came: float) -> Outcomes:
        """Stores messages, all of them or as many as can be."""
        if not messages:
            return {}
        try:
            return await self._appender.append(messages, came)
        except (*FAILURES, UnicodeEncodeError) as error:
            return await self._apart(messages, came, error)

    async def _apart(
        self, messages: Sequence[ChatMessage], came: float, error: Exception
    ) -> Outcomes:
        """Stores messages without those that can't be stored, one of which made all of them fail.

        What a text must not have is known; whatever else is wrong is found by halves.
        """
        faults: Outcomes = {
            id(each): Unstorable(fault) for each in messages if (fault := _fault_of(each))
        }
        if faults:
            log.error(
                "commit made without what cannot be stored", number=len(faults), exc_info=error
            )
            rest = [message for message in messages if id(message) not in faults]
            return {**faults, **await self._outcomes(rest, came)}
        if len(messages) == 1:
            log.error("message cannot be stored", exc_info=error)
            return {id(messages[0]): Unstorable(text_of(error))}
        half = len(messages) // 2
        first = await self._outcomes(messages[:half], came)
        return {**first, **await self._outcomes(messages[half:], came)}

    def _expire(self) -> None:
        """Fails what waits for a commit that has no end, and was not sent yet."""
        if self._watch.seconds < PATIENCE_SECONDS:
            return
        now = time.monotonic()
        old = [job for job in self._queue if now - job.came > PATIENCE_SECONDS]
        if old:
            self._queue = deque(self._queue[nth] for nth in range(len(old), len(self._queue)))
            self._fail(old, StoreError("not stored: the database does not confirm commits"))

    def _fail(self, jobs: Sequence[Job], failure: StoreError) -> None:
        self._end(jobs, {id(each): failure for job in jobs for each in job.messages})

    def _end(self, jobs: Sequence[Job], outcomes: Outcomes) -> None:
        self._on_done(sum(job.size for job in jobs))
        try:
            for job in jobs:
                results = [outcomes[id(message)] for message in job.messages]
                own = [sent for sent, it in zip(job.messages, results, strict=True) if it is sent]
                self._following.when_announced(own, partial(finish, job.future, results))
        except Exception as error:  # noqa: BLE001 - else those behind it would wait for ever
            self._break_down(jobs, error)

    def _break_down(self, jobs: Sequence[Job], error: Exception) -> None:
        """Ends jobs after a failure that nobody has foreseen: what is half done is not known."""
        log.error("the writer failed", exc_info=error)
        failure = StoreError(f"the writer failed: {error!r}")
        self._health.fail(f"{failure}: start the server again")
        for job in jobs:
            finish(job.future, [failure] * len(job.messages))


def _fault_of(message: ChatMessage) -> str:
    """Returns why the database can't hold a message; empty if nothing is known against it."""
    texts = (message.room_id, message.sender_id, message.id, message.content)
    try:
        extra = added(message)
    except UnicodeEncodeError as error:
        return str(error)
    return fault_of(*texts) if extra is None else fault_of(*texts, *mentioned(message))
