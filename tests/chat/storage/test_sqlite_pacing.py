"""Changes on their way to the writer: in order, together, and holding up nothing else."""

import asyncio
from typing import Any

from chat.storage.changes import Change
from chat.storage.sqlite.asks import Reading
from chat.storage.sqlite.jobs import Append, Asking, Changing, Job, Settle, Upsert
from chat.storage.sqlite.pacing import PACE_SECONDS, STORM_SECONDS, Pacing
from gen.chat import ChangeMessageRequest
from tests.support import message


def future() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


def change() -> Changing:
    return Changing([Change(ChangeMessageRequest("room", 1, "ada", react="👍"))], future())


async def test_first_change_goes_at_once_and_the_next_ones_together() -> None:
    passed: list[Job] = []
    times: list[float] = []
    last = asyncio.Event()
    jobs = [change() for _ in range(4)]

    def put(job: Job) -> None:
        passed.append(job)
        times.append(asyncio.get_running_loop().time())
        if job is jobs[-1]:
            last.set()

    pacing = Pacing(put)
    began = asyncio.get_running_loop().time()
    for job in jobs:
        pacing.put(job)
    assert passed == jobs[:1]
    await last.wait()
    assert passed == jobs
    # The clock of timers may be behind by a tick.
    assert times[1] - began > PACE_SECONDS / 2


async def test_messages_overtake_changes_that_wait() -> None:
    passed: list[Job] = []
    pacing = Pacing(passed.append)
    first, waiting, append = change(), change(), Append([message()], future())
    for job in (first, waiting, append):
        pacing.put(job)
    assert passed == [first, append]
    pacing.flush()
    assert passed == [first, append, waiting]


async def test_all_else_goes_at_once_and_never_ahead_of_a_change() -> None:
    passed: list[Job] = []
    pacing = Pacing(passed.append)
    others: list[Job] = [
        Upsert(("ada", "Ada", "", 0), future()),
        Asking(Reading("ada", "room", 1, back=False), future()),
        Settle(future()),
    ]
    expected: list[Job] = []
    pacing.put(change())
    for other in others:
        waiting = change()
        pacing.put(waiting)
        pacing.put(other)
        expected += [waiting, other]
    assert passed[1:] == expected


async def test_flush_passes_on_what_waits() -> None:
    passed: list[Job] = []
    pacing = Pacing(passed.append)
    jobs = [change() for _ in range(3)]
    for job in jobs:
        pacing.put(job)
    pacing.flush()
    assert passed == jobs


async def test_change_behind_a_quiet_pause_goes_at_once() -> None:
    passed: list[Job] = []
    came = asyncio.Event()

    def put(job: Job) -> None:
        passed.append(job)
        came.set()

    pacing = Pacing(put)
    pacing.put(change())
    # The pause behind it brings nothing, and the timer of it comes before this one's.
    quiet = future()
    asyncio.get_running_loop().call_later(STORM_SECONDS, quiet.set_result, None)
    await quiet
    came.clear()
    pacing.put(change())
    assert came.is_set()
    assert len(passed) == 2
