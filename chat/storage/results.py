"""What engines return, made alike by all of them: messages, pages, users, answers to appends."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from itertools import accumulate, islice

import codec
from chat.storage.base import PAGE_BYTES, MessageKey, Page, PartlyStored, Range, StoreError
from codec.columns import utf8_length
from gen.chat import ChatMessage, User, UserStatus


def stored_message(key: MessageKey, seq: int, sent_at: datetime, content: str) -> ChatMessage:
    """Makes a message out of its columns in a database."""
    room_id, sender_id, message_id = key
    return ChatMessage(
        id=message_id,
        room_id=room_id,
        sender_id=sender_id,
        content=content,
        seq=seq,
        sent_at=sent_at,
    )


def message_size(message: ChatMessage) -> int:
    """Returns how much of a page a message takes: its text, and what it has beside it, in bytes."""
    size = utf8_length(message.content)
    # Most have nothing beside it: each message of each page comes by here.
    if message.held_extra is not None:
        extra = message.held_extra
        size += len(extra if type(extra) is bytes else codec.encode(message.extra))
    return size


def fit_page(messages: list[ChatMessage], span: Range, last_change: int = 0) -> Page:
    """Cuts messages down to a page.

    Args:
        messages: in the order of paging (newest first without `after_seq`), at
            most `span.limit` + 1 of them, so that it shows if there are more.
        span: the requested range.
        last_change: see `Page`.
    """
    size = 0
    kept: list[ChatMessage] = []
    for message in messages[: span.limit]:
        size += message_size(message)
        if kept and size > PAGE_BYTES:
            break
        kept.append(message)
    has_more = len(kept) < len(messages)
    if span.after_seq is None:
        kept.reverse()
    return Page(kept, has_more, last_change)


def is_full(messages: Sequence[ChatMessage]) -> bool:
    """Whether `fit_page` keeps less than these messages, so that no further one is needed."""
    sizes = accumulate(map(message_size, messages))
    return any(size > PAGE_BYTES for size in islice(sizes, 1, None))


def finish(
    future: asyncio.Future[list[ChatMessage]], results: Sequence[ChatMessage | StoreError]
) -> None:
    """Ends a future of `append`, unless it was cancelled.

    Args:
        future: of one call.
        results: of each of its messages, itself or its error.
    """
    if future.done():
        return
    stored = [result for result in results if isinstance(result, ChatMessage)]
    if len(stored) == len(results):
        future.set_result(stored)
    else:
        [*failures] = (result for result in results if isinstance(result, StoreError))
        future.set_exception(failures[0] if len(results) == 1 else PartlyStored(results))


def make_user(user_id: str, name: str, email: str, tone: int, *, active: bool) -> User:
    """Builds a user as `get_user` returns it."""
    # betterproto types the members of an enum as int; calling it does not.
    status = UserStatus(UserStatus.ACTIVE if active else UserStatus.INACTIVE)
    return User(id=user_id, name=name, email=email, status=status, tone=tone or None)
