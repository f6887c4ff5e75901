"""Checks for remains of gone clients in a server: none after each attack."""

import asyncio
import gc
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import pytest

from tests.support import eventually

# Modules whose classes make up connections, streams and calls.
PACKAGES = {"chat", "grpclib", "h2", "hosting", "hpack", "hyperframe"}
# What is stored stays.
KEEPERS = {"chat.storage.memory"}
# Such classes of the event loop, which has others of its own.
TRANSPORTS = {"TCPTransport", "SSLProtocol"}


def open_files() -> int:
    """Number of open files and sockets of this process."""
    return len(os.listdir("/dev/fd"))  # noqa: PTH208 - the names are all that is wanted


def tasks() -> int:
    """Number of tasks, without the one of a proxy that begins when its link is proven."""
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return len(names) - names.count("Link._seek")


def objects() -> Counter[str]:
    """Connections, streams and calls made since `gc.freeze()` and still held."""
    gc.collect()  # cycles: only objects referenced from elsewhere are held
    kinds = Counter(type(each) for each in gc.get_objects())
    return Counter(
        {
            f"{kind.__module__}.{kind.__name__}": number
            for kind, number in kinds.items()
            if (kind.__module__.partition(".")[0] in PACKAGES and kind.__module__ not in KEEPERS)
            or kind.__name__ in TRANSPORTS
        }
    )


@asynccontextmanager
async def nothing_stays(held: Callable[[], object] = objects) -> AsyncIterator[None]:
    """Waits at the end until everything opened or begun meanwhile is gone.

    Args:
        held: counts held objects made since `gc.freeze()`.
    """
    files, running = open_files(), tasks()
    gc.collect()
    gc.freeze()  # present objects are not counted
    try:
        yield
        await eventually(lambda: open_files() <= files)
        await eventually(lambda: tasks() <= running)
        with suppress(TimeoutError):
            await eventually(lambda: not held())
        found = held()
        assert not found, str(found)
    finally:
        gc.unfreeze()


@contextmanager
def no_complaints(
    caplog: pytest.LogCaptureFixture,
    logs: list[MutableMapping[str, Any]],
    *,
    quiet: tuple[str, ...] = ("debug",),
) -> Iterator[None]:
    """Fails if the event loop, a library or the project logged anything meanwhile."""
    unhandled: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    yield
    assert unhandled == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert [entry for entry in logs if entry["log_level"] not in quiet] == []
