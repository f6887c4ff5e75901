"""Reading from the store for a caller, who is told no more than that it could not be read."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from chat.errors import Unavailable
from chat.storage.base import StoreError
from hosting.logs import get_logger

log = get_logger(__name__)

T = TypeVar("T")


async def read(reading: Awaitable[T]) -> T:
    """Waits for what the store reads.

    Raises:
        Unavailable: it could not; the log says why.
    """
    try:
        return await reading
    except StoreError as error:
        log.exception("store unreadable")
        raise Unavailable("the store could not be read") from error
