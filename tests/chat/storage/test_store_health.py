"""`StoreHealth`: handling of writes, and notification of listeners."""

import asyncio
import threading
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from chat.storage.health import State, StoreHealth


def in_a_thread(change: Callable[[], None]) -> None:
    thread = threading.Thread(target=change)
    thread.start()
    thread.join()


async def seen_after(health: StoreHealth, *changes: Callable[[], None]) -> list[State]:
    """Makes changes in other threads; returns the state at each notification."""
    seen: list[State] = []
    health.watch(lambda: seen.append(health.state))
    for change in changes:
        in_a_thread(change)
        await asyncio.sleep(0)
    return seen


async def test_listeners_run_in_the_event_loop() -> None:
    health = StoreHealth()
    assert (health.is_serving, health.reason) == (True, "")
    with capture_logs() as logs:
        seen = await seen_after(
            health,
            lambda: health.refuse("gone"),
            lambda: health.refuse("gone"),
            lambda: health.refuse("full"),
            health.serve,
            health.serve,
        )
    assert seen == [State.REFUSING, State.REFUSING, State.SERVING]
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("error", "store refuses writes"),
        ("error", "store refuses writes"),
        ("info", "store takes writes again"),
    ]
    assert [line["reason"] for line in logs[:2]] == ["gone", "full"]
    assert health.reason == ""


@pytest.mark.parametrize("refusing_before", [False, True])
async def test_fatal_state_is_final(refusing_before: bool) -> None:
    health = StoreHealth()
    if refusing_before:
        health.refuse("for now")
    with capture_logs() as logs:
        seen = await seen_after(
            health,
            lambda: health.fail("for ever"),
            health.serve,
            lambda: health.refuse("for now"),
            lambda: health.fail("once more"),
        )
    assert seen == [State.FATAL]
    assert (health.is_serving, health.reason) == (False, "for ever")
    assert [line["event"] for line in logs] == ["store failed"]
