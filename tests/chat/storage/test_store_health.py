"""`StoreHealth`: what a store does with what is to be stored, and who learns of it."""

from __future__ import annotations

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
    """Makes changes in other threads; returns what a listener found at each call."""
    seen: list[State] = []
    health.watch(lambda: seen.append(health.state))
    for change in changes:
        in_a_thread(change)
        await asyncio.sleep(0)
    return seen


async def test_listeners_learn_of_each_change_in_the_event_loop() -> None:
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
async def test_what_is_fatal_stays_so(refusing_before: bool) -> None:
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
