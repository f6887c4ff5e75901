"""Waits for the signal to stop, or for another event."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_event(at_once: Callable[[], None] | None = None) -> Iterator[asyncio.Event]:
    """Yields an event that the first SIGINT or SIGTERM sets.

    The second such signal ends the process at once, without an orderly stop.

    Args:
        at_once: a last action before that; it must not wait.
    """
    event = asyncio.Event()

    def on_signal(number: int) -> None:
        if event.is_set():
            if at_once is not None:
                at_once()
            os._exit(128 + number)
        event.set()

    with handling(STOP_SIGNALS, on_signal):
        yield event


@contextmanager
def handling(numbers: Iterable[int], handle: Callable[[int], object]) -> Iterator[None]:
    """Calls a function in the event loop for each signal that comes, while the context is open.

    Event loops on Windows have no signal handlers; there Python's own pass them on.

    Args:
        numbers: the signals.
        handle: takes the signal.
    """
    loop = asyncio.get_running_loop()

    def hand_over(number: int, _: object) -> None:
        loop.call_soon_threadsafe(handle, number)

    with ExitStack() as undone:
        for number in numbers:
            try:
                loop.add_signal_handler(number, handle, number)
            except NotImplementedError:
                undone.callback(signal.signal, number, signal.signal(number, hand_over))
            else:
                undone.callback(loop.remove_signal_handler, number)
        yield


def named_signals(*names: str) -> tuple[signal.Signals, ...]:
    """The signals of these names that the system has; Windows has no SIGUSR1."""
    return tuple(each for each in signal.Signals if each.name in names)


async def first_of(*events: asyncio.Event) -> None:
    """Waits until one of some events is set."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
