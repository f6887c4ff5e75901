"""The messages of one commit, as they get their `seq`: no I/O."""

from collections.abc import Mapping, Sequence

from chat.storage.base import MessageKey
from chat.storage.sqlite.schema import SEQ_MASK
from chat.storage.stamps import from_micros
from gen.chat import ChatMessage

Row = tuple[int, str, str, int, str]
"""A row of `messages`: row id (`position` in `schema`), sender_id, id, sent_at, content."""


class CommitBatch:
    """The messages that one commit stores.

    Args:
        last_row_ids: of each room that occurs, the row id of its newest message (`position` in
            `schema`, which is not its `seq`); goes up with each message.
        stored: messages that were stored before, by their keys.
        sent_at: the time of the commit, in microseconds since 1970.

    Attributes:
        rows: what is stored.
        fresh: the messages of the rows, by their keys.
    """

    def __init__(
        self,
        last_row_ids: dict[str, int],
        stored: Sequence[Mapping[MessageKey, ChatMessage]],
        sent_at: int,
    ) -> None:
        self.last_row_ids = last_row_ids
        self.sent_at = sent_at
        self.rows: list[Row] = []
        self.fresh: dict[MessageKey, ChatMessage] = {}
        self._known = (self.fresh, *(each for each in stored if each))
        self._time = from_micros(sent_at)

    def add(self, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
        """Gives each message the next `seq` of its room, unless it repeats an earlier one.

        Returns:
            For each itself, or the earlier one.
        """
        # Each look-up here is one for each message.
        last_row_ids, rows, fresh, sent_at, known = (
            self.last_row_ids, self.rows, self.fresh, self.sent_at, self._known,
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
                row_id = last_row_ids[room_id] = last_row_ids[room_id] + 1
                rows.append((row_id, sender_id, message_id, sent_at, message.content))
                fresh[key] = message
                message.seq = row_id & SEQ_MASK
                message.sent_at = self._time
                results.append(message)
        return results
