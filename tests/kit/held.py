"""Asynchronous contexts that outlive the event loop of a test."""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def held(context: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Keeps a context open, for fixtures of a session.

    pytest-asyncio ends its own fixtures of a session behind each test, where the loop is chosen
    by a hook, as here.

    Args:
        context: needs a loop only as it is entered and left.
    """
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        value = runner.run(_enter(context))
        try:
            yield value
        finally:
            runner.run(_leave(context))


async def _enter(context: AbstractAsyncContextManager[T]) -> T:
    return await context.__aenter__()


async def _leave(context: AbstractAsyncContextManager[T]) -> None:
    await context.__aexit__(None, None, None)
