"""Changes that are stored together: decided one after the other, and into arrays. No I/O.

What a batch needs is read at one moment (`Wanted`, `Found`). Each change is decided on the message
as the ones before leave it (`changes.decide`), and numbered on. What is stored in the end is what
came of all of them: of each message its last state, of each reaction whether it is there. It holds
only if nobody has changed anything in these rooms meanwhile: `sql/005_change.sql` looks.

What is known of a room itself is set likewise, as by a change of a message 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from chat.storage.changes import (
    NAMED,
    Change,
    Reactors,
    change_of,
    decide,
    is_deleted,
    needs_reactors,
    no_message,
    state_of,
)
from chat.storage.postgres.extras import mentioned, packed_state
from chat.storage.postgres.infos import packed_info, packed_number
from chat.storage.rooms import decide_room
from gen.chat import ChatMessage, Room, RoomChanges

Position = tuple[str, int]
"""A room and a `seq`."""

Kind = tuple[str, int, str]
"""A room, a `seq` and an emoji."""


class RoomChange(NamedTuple):
    """A request to set what is known of a room; see `Store.set_room`."""

    room: Room
    if_change: int | None


class Wanted:
    """What has to be read to decide on changes.

    Attributes:
        rooms: their rooms.
        infos: those that are to be set.
        positions: the messages.
        kinds: the kinds of reactions, and how many who gave them, the first ones: of so many, the
            ones that are named stay known whatever is taken back.
        own: those who may have reacted themselves.
    """

    def __init__(self, changes: Sequence[Change | RoomChange]) -> None:
        requests = [change.request for change in changes if isinstance(change, Change)]
        self.infos = sorted({each.room.id for each in changes if isinstance(each, RoomChange)})
        self.rooms = sorted({each.room_id for each in requests} | {*self.infos})
        self.positions: list[Position] = sorted({(each.room_id, each.seq) for each in requests})
        self.kinds: dict[Kind, int] = {}
        self.own: list[tuple[Kind, str]] = []
        for each in requests:
            if emoji := needs_reactors(each):
                kind = (each.room_id, each.seq, emoji)
                self.kinds[kind] = self.kinds.get(kind, NAMED + 1) + 1
                self.own.append((kind, each.user_id))


@dataclass(slots=True)
class Found:
    """What was read, all of it at one moment.

    Attributes:
        now: the time, by the database's clock.
        changes: by room: the number of its newest change; of those that are there.
        messages: as they stand; with the number of the last change of their text.
        reactors: those who reacted with each kind, in the order in which they came; see `Wanted`.
        own: those among `Wanted.own` who did.
        infos: what is known of rooms, if anything was set.
    """

    now: datetime
    changes: Mapping[str, int]
    messages: dict[Position, tuple[ChatMessage, int]]
    reactors: Mapping[Kind, list[str]] = field(default_factory=dict)
    own: set[tuple[Kind, str]] = field(default_factory=set)
    infos: dict[str, Room] = field(default_factory=dict)


class _Reactions(NamedTuple):
    """Reactions that came, with their changes, and those that are gone."""

    came: dict[tuple[Kind, str], int]
    gone: set[tuple[Kind, str]]


class ChangeBatch:
    """Changes that are decided on.

    Args:
        wanted: what was asked for.
        found: what was read; it is changed here as the messages are.
    """

    def __init__(self, wanted: Wanted, found: Found) -> None:
        self._found = found
        # A room that is set need not be there.
        self._bases = dict.fromkeys(wanted.infos, 0) | dict(found.changes)
        self._numbers = dict(self._bases)
        self._whole = {
            kind: len(found.reactors.get(kind, ())) < most for kind, most in wanted.kinds.items()
        }
        self._before = {position: message for position, (message, _) in found.messages.items()}
        self._changed: dict[Position, None] = {}
        self._infos: dict[str, Room] = {}
        self._reactions = _Reactions({}, set())

    def __len__(self) -> int:
        return sum(self._numbers.values()) - sum(self._bases.values())

    def decide(self, change: Change) -> ChatMessage:
        """Decides on a change, behind those of before; returns the message as it stands.

        Raises:
            NotFound: there is no such message.
            ChatError: see `changes.decide`.
        """
        request = change.request
        position = (request.room_id, request.seq)
        if position not in self._found.messages:
            raise no_message(request)
        message, text_change = self._found.messages[position]
        kind = (*position, needs_reactors(request))
        own = (kind, request.user_id)
        reactors = Reactors(self._found.reactors.get(kind, [])[: NAMED + 1], own in self._found.own)
        number = self._numbers[request.room_id] + 1
        outcome = decide(message, change, reactors, number, self._now(message))
        if outcome is None:
            return message
        self._numbers[request.room_id] = number
        if outcome.change.content is not None:
            text_change = number
        self._found.messages[position] = outcome.message, text_change
        # The last one that changed comes last.
        self._changed.pop(position, None)
        self._changed[position] = None
        if outcome.is_deletion:
            self._forget(position)
        elif kind[2]:
            self._react(own, number, is_gone=reactors.reacts)
        return outcome.message

    def set_room(self, change: RoomChange) -> Room:
        """Decides on what is to be known of a room; returns that as it stands.

        Raises:
            FailedPrecondition: see `rooms.decide_room`.
        """
        room_id = change.room.id
        before = self._found.infos.get(room_id)
        if before is None:
            before = Room(room_id)
        number = self._numbers[room_id] + 1
        after = decide_room(before, change.room, change.if_change, number)
        if after is None:
            return before
        self._numbers[room_id] = number
        self._found.infos[room_id] = self._infos[room_id] = after
        return after

    def spans(self) -> list[RoomChanges]:
        """Returns what changed in each room."""
        told = {
            room_id: RoomChanges(room_id, base, self._numbers[room_id])
            for room_id, base in self._bases.items()
            if self._numbers[room_id] > base
        }
        for room_id, seq in self._changed:
            message, text_change = self._found.messages[room_id, seq]
            told[room_id].messages.append(change_of(message, self._bases[room_id], text_change))
        for room_id, room in self._infos.items():
            told[room_id].room = replace(room)
        return list(told.values())

    def arguments(self, epoch: str) -> list[Any]:
        """Returns the arguments of ``change_2``."""
        rooms = [room for room, base in self._bases.items() if self._numbers[room] > base]
        nths = {room: nth for nth, room in enumerate(rooms, 1)}
        states, texts, mentions = [], [], []
        for room_id, seq in self._changed:
            message, text_change = self._found.messages[room_id, seq]
            state = state_of(message)
            at = (nths[room_id], seq)
            number = 0 if state is None else state.change
            deleted = is_deleted(message)
            states.append((*at, number, text_change, deleted, packed_state(message)))
            if text_change > self._bases[room_id]:
                texts.append((*at, message.content))
            if deleted:
                mentions += [(*at, who) for who in mentioned(self._before[room_id, seq])]
        infos = [
            (nths[room_id], room.change, packed_info(room), packed_number(room))
            for room_id, room in self._infos.items()
        ]
        gone = [(nths[kind[0]], *kind[1:], user) for kind, user in self._reactions.gone]
        came = [
            (nths[kind[0]], *kind[1:], user, number)
            for (kind, user), number in self._reactions.came.items()
        ]
        return [
            epoch,
            [room for room in rooms if room not in self._found.changes],
            rooms,
            [self._bases[room] for room in rooms],
            [self._numbers[room] for room in rooms],
            *_columns(infos, 4),
            *_columns(states, 6),
            *_columns(texts, 3),
            *_columns(gone, 4),
            *_columns(came, 5),
            *_columns(mentions, 3),
        ]

    def _now(self, message: ChatMessage) -> datetime:
        """The time of a change: not before another time of its message."""
        times = [self._found.now, message.sent_at]
        state = state_of(message)
        if state is not None and state.is_set("edited_at"):
            times.append(state.edited_at)
        return max(times)

    def _react(self, own: tuple[Kind, str], number: int, *, is_gone: bool) -> None:
        kind, user_id = own
        first = self._found.reactors.get(kind, [])
        came, gone = self._reactions
        if is_gone:
            self._found.own.discard(own)
            if user_id in first:
                first.remove(user_id)
            came.pop(own, None)
            gone.add(own)
        else:
            self._found.own.add(own)
            if self._whole[kind]:
                first.append(user_id)
            came[own] = number

    def _forget(self, position: Position) -> None:
        """Of a message that is deleted no reaction comes; those that are stored go with it."""
        for own in [own for own in self._reactions.came if own[0][:2] == position]:
            del self._reactions.came[own]
        self._found.own.difference_update(
            [own for own in self._found.own if own[0][:2] == position]
        )


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]
