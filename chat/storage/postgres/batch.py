"""The messages of one append: into arrays for the database, and back. No I/O.

`sql/004_append.sql` has the other end. It stores what is left of a batch without the repeats,
and tells the positions by room: the first message of a room gets the position behind its base.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from chat.storage.base import MessageKey, StoreError, key_of
from chat.storage.extras import sealed
from chat.storage.postgres.extras import add_all, added, is_same, mentioned
from chat.storage.postgres.stays import InFlight
from chat.storage.results import stored_message
from gen.chat import ChatMessage

T = TypeVar("T")

# How much text of others an append brings along at most: more than that is fetched.
_GAP_BYTES: Final = 256 * 1024
# How many names are remembered to be stored already.
_REMEMBERED: Final = 100_000


Outcomes = dict[int, ChatMessage | StoreError]
"""By the `id()` of a message: itself, the original that it repeats, or its error."""


class Names:
    """Users and rooms that are known to be stored, so that they need not be made again.

    It only saves work: a room that is missing all the same is noticed by the database.

    Attributes:
        erased: how often users were erased before these names were taken.
    """

    def __init__(self) -> None:
        self.erased = ""
        self.users: set[str] = set()
        self.rooms: set[str] = set()

    def add(self, users: Iterable[str], rooms: Iterable[str]) -> None:
        """Takes names that are stored now."""
        for known, names in ((self.users, users), (self.rooms, rooms)):
            known.update(names)
            if len(known) > _REMEMBERED:
                known.clear()

    def clear(self) -> None:
        """Forgets all names."""
        self.users.clear()
        self.rooms.clear()


class Answer:
    """What the database did with a batch.

    Attributes:
        own: the messages that it stored, in order, with their positions and times.
        old: what was stored before, by the place of the message that repeats it.
        others: what others stored behind what was announced, in each room in order.
        went_back: how far times of messages went back, in seconds; 0 if they did not.
    """

    __slots__ = ("old", "others", "own", "went_back")

    def __init__(
        self,
        own: list[ChatMessage],
        old: Mapping[int, ChatMessage],
        others: list[ChatMessage],
        went_back: float,
    ) -> None:
        self.own = own
        self.old = old
        self.others = others
        self.went_back = went_back


class Batch:
    """The messages of one append.

    Args:
        messages: in order; of those with the same key, the first is to be stored.

    Attributes:
        messages: those to be stored.
        rooms: their rooms, each once.
        users: their senders.
    """

    def __init__(self, messages: Sequence[ChatMessage]) -> None:
        firsts: dict[MessageKey, ChatMessage] = {}
        for message in messages:
            firsts.setdefault(key_of(message), message)
        self._firsts = firsts
        self.messages = list(firsts.values())
        self.rooms: dict[str, int] = {}
        self.users = {sender_id for _, sender_id, _ in firsts}
        # Of each message, its room's place in `rooms`.
        rooms = self.rooms
        self._nth_rooms = [rooms.setdefault(room_id, len(rooms)) for room_id, _, _ in firsts]

    def arguments(
        self, epoch: str, names: Names, announced: Mapping[str, int], *, deduplicate: bool
    ) -> list[Any]:
        """Returns the arguments of the append.

        Args:
            epoch: what the history has to be.
            names: which users and rooms need not be made.
            announced: the newest position that was announced of each followed room.
            deduplicate: whether some may be stored already.
        """
        numbers = [0] * len(self.rooms)
        nths = []
        for room in self._nth_rooms:
            numbers[room] += 1
            nths.append(numbers[room])
        extras = [
            (nth, sealed(extra))
            for nth, message in enumerate(self.messages, 1)
            if (extra := added(message)) is not None
        ]
        mentions = [
            (nth, user_id) for nth, _ in extras for user_id in mentioned(self.messages[nth - 1])
        ]
        return [
            epoch,
            names.erased,
            sorted(self.users - names.users),
            sorted(self.rooms.keys() - names.rooms),
            list(self.rooms),
            numbers,
            [announced.get(room_id) for room_id in self.rooms],
            [room + 1 for room in self._nth_rooms],
            nths,
            [sender_id for _, sender_id, _ in self._firsts],
            [message_id for _, _, message_id in self._firsts],
            [message.content for message in self.messages],
            *_columns(extras),
            *_columns(mentions),
            deduplicate,
            _GAP_BYTES,
        ]

    def take(self, row: Mapping[str, Any]) -> Answer:
        """Gives the messages the positions and times that they were stored with."""
        times = shared(row["times"])
        old = self._old(row)
        heads = list(row["bases"])
        own = []
        for nth, (message, room) in enumerate(zip(self.messages, self._nth_rooms, strict=True)):
            if nth not in old:
                message.seq = heads[room] = heads[room] + 1
                message.sent_at = times[room]
                own.append(message)
        return Answer(own, old, self._others(row), row["went_back"] or 0.0)

    def first_of(self, message: ChatMessage) -> ChatMessage:
        """Returns the message of the batch with the same key."""
        return self._firsts[key_of(message)]

    def _old(self, row: Mapping[str, Any]) -> dict[int, ChatMessage]:
        if row["old_nths"] is None:
            return {}
        columns = (row["old_nths"], row["old_seqs"], row["old_times"], row["old_contents"])
        found = {}
        for nth, seq, sent_at, content in zip(*columns, strict=True):
            key = key_of(self.messages[nth - 1])
            found[nth - 1] = stored_message(key, seq, sent_at, content)
        add_all(list(found.values()), row["old_extras"], row["old_states"])
        return found

    def _others(self, row: Mapping[str, Any]) -> list[ChatMessage]:
        if row["gap_rooms"] is None:
            return []
        names = list(self.rooms)
        columns = (
            row["gap_rooms"], row["gap_seqs"], shared(row["gap_times"]),
            row["gap_sender_ids"], row["gap_ids"], row["gap_contents"],
        )  # fmt: skip
        found = [
            stored_message((names[room - 1], sender_id, message_id), seq, sent_at, content)
            for room, seq, sent_at, sender_id, message_id, content in zip(*columns, strict=True)
        ]
        return add_all(found, row["gap_extras"], row["gap_states"])


def outcomes(
    messages: Sequence[ChatMessage],
    batch: Batch,
    answer: Answer,
    flight: InFlight,
    *,
    is_retry: bool,
) -> Outcomes:
    """Returns for each message itself if it was stored, or the one that it repeats."""
    if len(answer.own) == len(messages):
        return {id(message): message for message in messages}
    found: Outcomes = {id(message): message for message in answer.own}
    for nth, old in answer.old.items():
        mine = batch.messages[nth]
        if is_retry and mine.room_id not in flight.positions and is_same(mine, old):
            # What the commit had stored of which no answer came. Nobody has to announce it.
            mine.seq, mine.sent_at = old.seq, old.sent_at
            found[id(mine)] = mine
        else:
            found[id(mine)] = mine if flight.is_announced(mine) else old
    return {id(message): found[id(batch.first_of(message))] for message in messages}


def _columns(pairs: Sequence[tuple[int, T]]) -> tuple[list[int], list[T]] | tuple[None, None]:
    """Turns pairs into columns; into nothing where there are none, which costs nothing."""
    return ([nth for nth, _ in pairs], [each for _, each in pairs]) if pairs else (None, None)


def shared(times: Iterable[datetime]) -> list[datetime]:
    """Makes equal times that follow each other one object.

    Confirmations of one commit are told together by that, and an object is encoded sooner than
    an equal one.
    """
    last: datetime | None = None
    return [last := last if each == last else each for each in times]
