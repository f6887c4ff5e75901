"""Waiting for the signal to stop, or for another reason to."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_event(at_once: Callable[[], None] | None = None) -> Iterator[asyncio.Event]:
    """Gives an event that the first SIGINT or SIGTERM sets.

    The second such signal ends the process at once, for a person who does not
    want to wait for an orderly stop.

    Args:
        at_once: what is still to be done before that; it must not wait.
    """
    loop = asyncio.get_running_loop()
    event = asyncio.Event()

    def on_signal(number: int) -> None:
        if event.is_set():
            if at_once is not None:
                at_once()
            os._exit(128 + number)
        event.set()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield event
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)


async def first_of(*events: asyncio.Event) -> None:
    """Waits until one of some events is set."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
