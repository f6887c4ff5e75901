"""Loops that go on, whatever happens in them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from chat.storage.base import StoreError
from hosting.logs import get_logger

log = get_logger(__name__)

_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 5.0


async def go_on(what: str, step: Callable[[], Awaitable[None]]) -> None:
    """Does a step again and again, until it is cancelled; after a failure, with a growing pause.

    Args:
        what: the loop, for the log.
        step: waits for something, and does it.
    """
    pause = _FIRST_PAUSE_SECONDS
    told = ""
    while True:
        try:
            await step()
        except StoreError as error:
            # As long as the database is gone, each try would tell the same.
            if str(error) != told:
                log.warning("to be tried again", what=what, why=str(error))
            told = str(error)
        except Exception:
            log.exception("to be tried again", what=what)
        else:
            pause, told = _FIRST_PAUSE_SECONDS, ""
            continue
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
