"""What `following` keeps of a room, of an append, of a fetch and of a sweep: no I/O."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from chat.storage.base import MessageKey, key_of
from chat.storage.changes import state_of
from chat.storage.postgres.extras import is_same
from chat.storage.postgres.followed import Stay
from gen.chat import ChatMessage


class Mark(NamedTuple):
    """A message that was acknowledged or announced.

    Attributes:
        room_id, seq: its position; 0 for none.
        sender_id, id: the rest of its key; empty if only the position is known.
    """

    room_id: str
    seq: int
    sender_id: str = ""
    id: str = ""


class MessageStay(Stay):
    """One stay in a room, from `follow` to `unfollow`.

    Attributes:
        swept: the highest position that a sweep saw.
        held: rows behind a gap, by position.
        last: sender and id of the message at `announced`, if it was announced here.
    """

    __slots__ = ("held", "last", "swept")

    def __init__(self, announced: int | None = None) -> None:
        super().__init__(announced)
        self.swept = announced or 0
        self.held: dict[int, ChatMessage] = {}
        self.last = ("", "")


class InFlight:
    """The messages of one append, from its sending until its answer. Made by `Following.send`.

    Attributes:
        messages: the objects that were passed.
        positions: what was announced of those of their rooms that are followed.
    """

    def __init__(
        self, messages: Sequence[ChatMessage], positions: Mapping[str, int], generation: int
    ) -> None:
        self.messages = messages
        self.positions = positions
        self.generation = generation
        self._by_key: dict[MessageKey, ChatMessage] | None = None
        self._claimed: set[int] = set()

    def is_announced(self, message: ChatMessage) -> bool:
        """Whether it was found in the table and taken for this very object: then it is stored.

        Whatever the answer of the append says: the object has its position.
        """
        return id(message) in self._claimed

    def claim(self, row: ChatMessage) -> ChatMessage | None:
        """Returns the object in flight that a row is, with its position, if it is one."""
        if self._by_key is None:
            # Seldom needed, so it is not made for each append. The first of a key is stored.
            self._by_key = {key_of(each): each for each in reversed(self.messages)}
        mine = self._by_key.get(key_of(row))
        if mine is None or not is_same(mine, row):
            return None
        mine.seq, mine.sent_at = row.seq, row.sent_at
        if state_of(row) is not None:
            mine.content, mine.extra = row.content, row.extra
        self._claimed.add(id(mine))
        return mine


class Fetch:
    """Rooms that are behind, to be read from the table. Made by `Following.take`.

    Attributes:
        positions: what was announced of each: what is behind it is asked for.
        brought: those rooms of which rows were brought.
    """

    def __init__(self, stays: Mapping[str, MessageStay], positions: Mapping[str, int]) -> None:
        self.positions = positions
        self.brought: set[str] = set()
        self._stays = stays
        self._told = {room_id: (stay.hinted, stay.sure) for room_id, stay in stays.items()}

    def stays(self) -> Iterator[tuple[str, MessageStay, int, int]]:
        """Each room with its stay, and what was hinted and sure when it was taken."""
        for room_id, stay in self._stays.items():
            yield room_id, stay, *self._told[room_id]

    def is_of(self, room_id: str, stay: MessageStay | None) -> bool:
        """Whether a room was taken in this stay."""
        return stay is not None and self._stays.get(room_id) is stay


class Sweep(NamedTuple):
    """A look at all heads. Made by `Following.ask`.

    Attributes:
        positions: what was announced of each followed room.
    """

    positions: Mapping[str, int]
    generation: int
