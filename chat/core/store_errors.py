"""Failures of the store, as a caller is told of them: no more than that it failed."""

from collections.abc import Awaitable
from typing import TypeVar

from chat.errors import ChatError, Internal, StorageFailed, Unavailable
from chat.storage.base import StoreError, Unstorable
from hosting.logs import get_logger

log = get_logger(__name__)

T = TypeVar("T")


async def or_unavailable(reading: Awaitable[T]) -> T:
    """Waits for a read of the store.

    Raises:
        Unavailable: it could not; the log says why.
    """
    try:
        return await reading
    except StoreError as error:
        log.exception("store unreadable")
        raise Unavailable("the store could not be read") from error


async def or_not_stored(writing: Awaitable[T], what: str = "message") -> T:
    """Waits for a write of the store.

    Raises:
        ChatError: it could not; see `not_stored`.
    """
    try:
        return await writing
    except StoreError as error:
        raise not_stored(error, what) from error


def not_stored(failure: BaseException, what: str = "message") -> ChatError:
    """Returns the error of something that was not stored.

    An unstorable one passed the rules and should not have: that is a defect, and no
    reason to send it again.
    """
    return Internal() if isinstance(failure, Unstorable) else StorageFailed(what)
