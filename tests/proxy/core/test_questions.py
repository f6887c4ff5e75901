"""Commands that wait for an answer, each no longer than it may."""

import asyncio

import pytest
import uvloop

from gen.chat import Admit, Admitted, ErrorCode
from proxy.core.outbox import Outbox
from proxy.core.questions import Questions
from proxy.errors import Refused

SOON, LATER = 0.01, 60.0


def ask(questions: Questions, patience: float) -> asyncio.Task[Admitted]:
    asking = questions.ask(Admitted, 1, 10, patience, admit=Admit("room"))
    return asyncio.create_task(asking)


async def assert_given_up(task: asyncio.Task[Admitted]) -> None:
    with pytest.raises(Refused) as refused:
        await task
    assert refused.value.error.code == ErrorCode.UNAVAILABLE


async def test_each_is_given_up_when_it_is_due() -> None:
    questions = Questions(Outbox())
    # The one that is due first comes last.
    later, soon = ask(questions, LATER), ask(questions, SOON)
    await assert_given_up(soon)
    assert not later.done()
    assert not questions.awaits(2)
    assert questions.awaits(1)
    # Others are watched like them, and each by its own time.
    for task in [ask(questions, 2 * SOON), ask(questions, SOON), ask(questions, 3 * SOON)]:
        await assert_given_up(task)
    assert not later.done()
    assert questions.answered(1, Admitted())
    await later


async def test_answer_comes_before_it_is_due() -> None:
    questions = Questions(Outbox())
    answered, cancelled, other = (ask(questions, SOON) for _ in range(3))
    patient = ask(questions, LATER)
    await asyncio.sleep(0)
    assert questions.answered(1, Admitted(may_read=True))
    cancelled.cancel()
    assert (await answered).may_read
    assert cancelled.cancelled()
    await assert_given_up(other)
    assert questions.awaits(4)
    assert questions.answered(4, Admitted())
    await patient
    assert not any(questions.answered(ref, Admitted()) for ref in range(1, 5))


def test_one_that_is_due_at_once_hinders_no_other() -> None:
    """In uvloop, where the timer of such a one does not know its time."""

    async def test() -> None:
        questions = Questions(Outbox())
        for task in [ask(questions, 0), ask(questions, 0), ask(questions, SOON)]:
            await assert_given_up(task)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test())
