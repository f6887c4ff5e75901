"""Messages that a proxy sent together, as columns, and those that are stored together: no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat

import codec
from chat.core.membership import Membership
from chat.core.rules import Rules
from chat.errors import ChatError
from chat.storage.changes import extra_of
from codec.columns import split
from gen.chat import ChatMessage, ChatMessages
from hosting.tracing import spans


class Columns:
    """The messages of one command.

    Iterating gives, of each, its ref, the number of its client, and the message itself.

    Args:
        columns: as the codec decoded it.

    Raises:
        codec.DecodeError: the columns do not fit together.

    Attributes:
        refs: by which the proxy knows them in answers.
        of_nobody: whether none of them has a client.
    """

    def __init__(self, columns: ChatMessages) -> None:
        self.refs = columns.refs
        self._clients = columns.clients
        self.of_nobody = not self._clients
        # One that is not there has no texts.
        self._columns = [columns.ids, columns.room_ids, columns.sender_ids, columns.contents]
        numbers = {len(column.lengths) for column in self._columns}
        if self._clients:
            numbers.add(len(self._clients))
        if numbers != {len(self.refs)}:
            raise codec.DecodeError("chat_messages", "its columns are of different lengths")

    def __len__(self) -> int:
        return len(self.refs)

    def __iter__(self) -> Iterator[tuple[int, int, ChatMessage]]:
        return zip(self.refs, self._clients or repeat(0), self.messages(), strict=False)

    @property
    def size(self) -> int:
        """How many characters of text they have."""
        return len(self._columns[-1].joined)

    def messages(self) -> list[ChatMessage]:
        """Makes the messages.

        Raises:
            codec.DecodeError: a column does not fit to the lengths of its texts.
        """
        texts = [split(column.joined, column.lengths) for column in self._columns]
        # The columns are in the order of the fields.
        return list(map(ChatMessage, *texts))

    def obeys(self, rules: Rules) -> bool:
        """Returns whether all messages pass; a fast bulk check.

        If not, a check of each tells which do.
        """
        if not self.refs:
            return True
        message_ids, room_ids, sender_ids, contents = self._columns
        return (
            rules.are_keys(message_ids.joined, message_ids.lengths)
            and rules.are_ids(room_ids.joined, room_ids.lengths)
            and rules.are_ids(sender_ids.joined, sender_ids.lengths)
            and rules.are_short_contents(contents.joined, contents.lengths)
        )


class MessageRun:
    """Messages of a batch that have passed the checks and are stored together.

    Args:
        came: when the batch came, by the monotonic clock.

    Attributes:
        refs: by which the proxy knows them in answers.
        memberships: for each, the stream's membership of its room at arrival (see
            `LiveStream.rooms`); `None` if it was not a member.
        spans: from now until they are delivered, of those that are traced.
        size: how many characters of text they have.
    """

    __slots__ = ("came", "memberships", "messages", "refs", "size", "spans")

    def __init__(self, came: float) -> None:
        self.came = came
        self.refs: list[int] = []
        self.messages: list[ChatMessage] = []
        self.memberships: list[Membership | None] = []
        self.spans: list[tuple[ChatMessage, spans.Span]] = []
        self.size = 0

    def add(self, ref: int, message: ChatMessage, membership: Membership | None) -> None:
        """Adds a message."""
        self.size += len(message.content)
        extra = extra_of(message)
        if extra is not None:
            self.size += len(extra.data) + sum(map(len, extra.mentions))
        self.refs.append(ref)
        self.messages.append(message)
        self.memberships.append(membership)

    def add_all(self, columns: Columns, rooms: Mapping[str, Membership]) -> None:
        """Adds all messages of a command; `rooms` has the membership of each room."""
        messages = columns.messages()
        self.refs += columns.refs
        self.messages += messages
        self.memberships += [rooms.get(message.room_id) for message in messages]
        self.size += columns.size

    def each(self) -> Iterator[MessageRun]:
        """Yields the messages one by one, for each to fail alone."""
        spans = {id(message): (message, span) for message, span in self.spans}
        for ref, message, membership in zip(
            self.refs, self.messages, self.memberships, strict=True
        ):
            alone = MessageRun(self.came)
            alone.add(ref, message, membership)
            if id(message) in spans:
                alone.spans.append(spans[id(message)])
            yield alone

    def end_spans(self, results: Sequence[ChatMessage | ChatError]) -> None:
        """Ends the spans, each with the result of its message: itself, or the refusal."""
        if not self.spans:
            return
        outcomes = dict(zip(map(id, self.messages), results, strict=True))
        for message, span in self.spans:
            outcome = outcomes[id(message)]
            if isinstance(outcome, ChatError):
                span.fail(outcome.code)
            else:
                span.note({"chat.seq": outcome.seq})
            span.end()
