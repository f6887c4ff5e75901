"""When a client that says nothing is asked, and when it is given up: by the clock."""

from __future__ import annotations

import asyncio

from chat.pulse import Pulse
from tests.clock import ClockLoop

_HEARTBEAT = 30.0


async def _silence(seconds: float, *, speaks_at: float | None = None) -> list[tuple[str, float]]:
    """What becomes of a client, and when."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ClockLoop)
    told: list[tuple[str, float]] = []
    pulse = Pulse(
        _HEARTBEAT,
        ask=lambda: told.append(("asked", loop.time())),
        end=lambda: told.append(("ended", loop.time())),
        deaf=lambda: False,
    )
    while loop.time() < seconds and ("ended" not in dict(told)):
        await loop.pass_time(1.0)
        if loop.time() == speaks_at:
            pulse.heard()
    pulse.stop()
    return told


def run(seconds: float, *, speaks_at: float | None = None) -> list[tuple[str, float]]:
    with asyncio.Runner(loop_factory=ClockLoop) as runner:
        return runner.run(_silence(seconds, speaks_at=speaks_at))


def test_a_silent_client_is_asked_after_a_heartbeat_and_ended_after_another_half() -> None:
    assert run(100) == [("asked", _HEARTBEAT), ("ended", 1.5 * _HEARTBEAT)]


def test_who_answers_is_asked_anew() -> None:
    """It spoke at 31 s: the next look that finds nothing new is the second one from then."""
    assert run(70, speaks_at=31.0) == [("asked", 30.0), ("asked", 60.0)]
