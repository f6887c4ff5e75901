"""What clients that are gone have left behind in a server: nothing, after each attack."""

from __future__ import annotations

import asyncio
import gc
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.support import eventually

# Whatever these define, a connection, a stream or a call is made of.
PACKAGES = {"chat", "grpclib", "h2", "hpack", "hyperframe"}
# So are these of the event loop, which has others of its own.
TRANSPORTS = {"TCPTransport", "SSLProtocol"}


def open_files() -> int:
    """How many files and sockets this process has open."""
    return len(os.listdir("/dev/fd"))  # noqa: PTH208 - the names are all that is wanted


def objects() -> Counter[str]:
    """What was made since `gc.freeze()` of connections, streams and calls, and is still held."""
    gc.collect()  # they know each other: only what somebody else knows is held
    kinds = Counter(type(each) for each in gc.get_objects())
    return Counter(
        {
            f"{kind.__module__}.{kind.__name__}": number
            for kind, number in kinds.items()
            if kind.__module__.partition(".")[0] in PACKAGES or kind.__name__ in TRANSPORTS
        }
    )


@asynccontextmanager
async def nothing_stays() -> AsyncIterator[None]:
    """Waits in the end until all is gone that was opened, begun or made meanwhile."""
    files, tasks = open_files(), len(asyncio.all_tasks())
    gc.collect()
    gc.freeze()  # what there is now is not counted
    try:
        yield
        await eventually(lambda: open_files() <= files)
        await eventually(lambda: len(asyncio.all_tasks()) <= tasks)
        with suppress(TimeoutError):
            await eventually(lambda: not objects())
        held = objects()
        assert not held, str(held)
    finally:
        gc.unfreeze()
