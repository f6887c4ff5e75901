"""The messages of one commit, as they get their positions: no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chat.storage.sqlite.schema import SEQ_MASK
from chat.storage.stamps import from_micros
from gen.chat import ChatMessage

Row = tuple[int, str, str, int, str]
"""A row of `messages`: position, sender_id, id, sent_at, content."""

Key = tuple[str, str, str]
"""The idempotency key: room_id, sender_id, id."""


class Batch:
    """The messages that one commit stores.

    Args:
        heads: the newest position of each room that occurs; goes up with each message.
        stored: messages that were stored before, by their keys.
        sent_at: the time of the commit, in microseconds since 1970.

    Attributes:
        rows: what is stored.
        fresh: the messages of the rows, by their keys.
    """

    def __init__(
        self, heads: dict[str, int], stored: Sequence[Mapping[Key, ChatMessage]], sent_at: int
    ) -> None:
        self.heads = heads
        self.sent_at = sent_at
        self.rows: list[Row] = []
        self.fresh: dict[Key, ChatMessage] = {}
        self._known = (self.fresh, *(each for each in stored if each))
        self._time = from_micros(sent_at)

    def add(self, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
        """Gives each message the next position in its room, unless it repeats an earlier one.

        Returns:
            For each itself, or the earlier one.
        """
        # Each look-up here is one for each message.
        heads, rows, fresh, sent_at, known = (
            self.heads, self.rows, self.fresh, self.sent_at, self._known,
        )  # fmt: skip
        results = []
        for message in messages:
            room_id, sender_id, message_id = message.room_id, message.sender_id, message.id
            key = room_id, sender_id, message_id
            for each in known:
                if key in each:
                    results.append(each[key])
                    break
            else:
                position = heads[room_id] = heads[room_id] + 1
                rows.append((position, sender_id, message_id, sent_at, message.content))
                fresh[key] = message
                message.seq = position & SEQ_MASK
                message.sent_at = self._time
                results.append(message)
        return results


def key_of(message: ChatMessage) -> Key:
    """Returns the idempotency key of a message."""
    return message.room_id, message.sender_id, message.id


def stored_message(key: Key, seq: int, sent_at: int, content: str) -> ChatMessage:
    """Makes a message out of its columns in the database."""
    room_id, sender_id, message_id = key
    return ChatMessage(
        id=message_id,
        room_id=room_id,
        sender_id=sender_id,
        content=content,
        seq=seq,
        sent_at=from_micros(sent_at),
    )
