"""One timer for many times."""

from hosting.alarm import Alarm
from tests.clock import ClockLoop


async def test_goes_off_at_the_earliest_time(loop: ClockLoop) -> None:
    heard: list[float] = []
    alarm = Alarm(lambda: heard.append(loop.time()))
    for at in (5, 3, 4):
        alarm.set(at)
    for _ in range(6):
        await loop.pass_time(1)
    # Those that it was set to besides are gone with it.
    assert heard == [3]
    alarm.set(7)
    await loop.pass_time(1)
    assert heard == [3, 7]


async def test_may_be_set_again_as_it_goes_off(loop: ClockLoop) -> None:
    heard: list[float] = []

    def again() -> None:
        heard.append(loop.time())
        alarm.set(loop.time() + 2)

    alarm = Alarm(again)
    alarm.set(1)
    for _ in range(5):
        await loop.pass_time(1)
    assert heard == [1, 3, 5]


async def test_closed_one_is_silent(loop: ClockLoop) -> None:
    heard: list[float] = []
    alarm = Alarm(lambda: heard.append(loop.time()))
    alarm.set(1)
    alarm.close()
    alarm.set(2)
    await loop.pass_time(3)
    assert heard == []
