"""Clients that ask for much share the turns of the event loop."""

import asyncio

from proxy.clients.turns import FREE_WORK, TURN_WORK, Turns, Work


async def test_turns_go_one_by_one() -> None:
    turns, done = Turns(), list[int]()
    for number in range(5):
        turns.call(lambda number=number: done.append(number))  # type: ignore[misc]
    for number in range(5):
        await asyncio.sleep(0)
        assert done == list(range(number + 1))


async def test_repeated_request_queues_behind_others() -> None:
    turns, done = Turns(), list[str]()

    def greedy() -> None:
        done.append("greedy")
        turns.call(greedy)

    turns.call(greedy)
    turns.call(lambda: done.append("other"))
    for _ in range(4):
        await asyncio.sleep(0)
    assert done == ["greedy", "other", "greedy", "greedy"]


async def test_failed_turn_spares_the_others() -> None:
    loop, failed = asyncio.get_running_loop(), list[dict[str, object]]()
    loop.set_exception_handler(lambda _, context: failed.append(context))
    turns, done = Turns(), list[bool]()
    turns.call(lambda: done[7])  # type: ignore[arg-type]
    turns.call(lambda: done.append(True))
    for _ in range(2):
        await asyncio.sleep(0)
    assert done == [True]
    assert [type(each["exception"]) for each in failed] == [IndexError]


async def test_cancelled_waiter_is_passed_over() -> None:
    turns, done = Turns(), list[bool]()
    gone = asyncio.create_task(turns.wait())
    await asyncio.sleep(0)
    gone.cancel()
    turns.call(lambda: done.append(True))
    for _ in range(2):
        await asyncio.sleep(0)
    assert done == [True]


async def test_small_request_never_waits() -> None:
    """However many others want a turn."""
    turns = Turns()
    greedy = [Work(turns) for _ in range(50)]
    waiting = [asyncio.create_task(each.rest()) for each in greedy if each.add(TURN_WORK)]
    await asyncio.sleep(0)
    assert len(waiting) == 50
    calm = Work(turns)
    assert not any(calm.add(1) for _ in range(FREE_WORK - 1))
    await asyncio.wait(waiting)
