"""The changes of one commit: read what they need, decide, write what comes of it.

Each statement here is one for all changes of a commit, with their values as JSON: to execute one
for each would be to wait for a busy event loop as often (see `journal`). So of a message that
changes often, as one that everybody reacts to, only the last state is written and told.

All of it is in a transaction that may still fail: `Altered` has what is to be taken note of
once it is on disk.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import apsw

from chat.errors import ChatError
from chat.storage.changes import (
    NAMED,
    Change,
    Outcome,
    Reactors,
    decide,
    extra_of,
    needs_reactors,
    no_message,
)
from chat.storage.results import stored_message
from chat.storage.sqlite import scrub
from chat.storage.sqlite.journal import Journal
from chat.storage.sqlite.schema import SEQ_BITS
from chat.storage.sqlite.states import digits_of, mentioned, query, with_state, write
from chat.storage.stamps import from_micros
from gen.chat import ChatMessage, MessageChange, RoomChanges

_LOAD: Final = """
SELECT json_group_array(json_array(
    new.key, room, changes, messages.id, sender_id, sent_at,
    coalesce(states.content, messages.content), hex(extra), hex(state)
))
FROM json_each(?) AS new CROSS JOIN rooms
LEFT JOIN messages ON messages.position = room << 32 | new.value ->> 1
LEFT JOIN states ON states.position = messages.position
WHERE room_id = new.value ->> 0
"""
_FIRST: Final = """
SELECT json_group_array(json_array(new.key, json((
    SELECT json_group_array(user_id ORDER BY change) FROM (
        SELECT user_id, change FROM reactions
        WHERE position = new.value ->> 0 AND emoji = new.value ->> 1
        ORDER BY change LIMIT ?2
    )
))))
FROM json_each(?1) AS new
"""
_REACTING: Final = """
SELECT json_group_array(new.key) FROM json_each(?) AS new CROSS JOIN reactions
WHERE position = new.value ->> 0 AND emoji = new.value ->> 1 AND user_id = new.value ->> 2
"""
_STORE_STATES: Final = """
INSERT INTO states (position, change, text_change, content, state)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, unhex(value ->> 4)
FROM json_each(?) WHERE true
ON CONFLICT (position) DO UPDATE SET
    change = excluded.change, state = excluded.state,
    text_change = max(text_change, excluded.text_change),
    content = coalesce(excluded.content, content),
    extra = iif(excluded.content = '', NULL, extra)
"""
_STORE_NUMBERS: Final = """
UPDATE rooms SET changes = new.value ->> 1, beside = 1
FROM json_each(?) AS new WHERE room = new.value ->> 0
"""
# Where they are in the table; those in the journal are folded without.
_REMOVE_TEXTS: Final = """
UPDATE messages SET content = '' WHERE position IN (SELECT value FROM json_each(?))
"""
_REMOVE_REACTIONS: Final = """
DELETE FROM reactions WHERE (user_id, position, emoji) IN (
    SELECT value ->> 2, value ->> 0, value ->> 1 FROM json_each(?)
)
"""
_REMOVE_ALL_REACTIONS: Final = """
DELETE FROM reactions WHERE position IN (SELECT value FROM json_each(?))
"""
_REMOVE_MENTIONS: Final = """
DELETE FROM mentions WHERE (user_id, position) IN (
    SELECT value ->> 0, value ->> 1 FROM json_each(?)
)
"""
_ADD_REACTIONS: Final = """
INSERT INTO reactions (position, emoji, user_id, change)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?)
"""

_Place = tuple[str, int]
"""Room id and `seq`."""
_Kind = tuple[int, str]
"""Position and emoji."""
_Reaction = tuple[int, str, str]
"""Position, emoji, user."""


class Altered(NamedTuple):
    """A message that changed in this commit.

    Attributes:
        position: in the sense of `schema`.
        message: as it stands.
        told: the same, as it is told; with its text if that changed in this commit.
    """

    position: int
    message: ChatMessage
    told: MessageChange

    @property
    def has_new_text(self) -> bool:
        """Whether its text changed in this commit."""
        return self.told.content is not None


class Changes:
    """The changes of one commit.

    Args:
        connection: in a transaction, until that ends.
        journal: has the messages that are not in the table yet, as they stand.
        fresh: the messages of this commit, by room and `seq`.
        now: the time of the changes, in microseconds since 1970.

    Attributes:
        altered: the messages that changed, in the order of their last changes.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        journal: Journal,
        fresh: dict[_Place, ChatMessage],
        now: int,
    ) -> None:
        self._connection = connection
        self._journal = journal
        self._now = now
        self._time = from_micros(now)
        self.altered: dict[_Place, Altered] = {}
        self._messages = fresh
        self._rooms: dict[str, int] = {}
        self._before: dict[str, int] = {}
        self._numbers: dict[str, int] = {}
        # Of each kind the first ones, and whether there are more.
        self._first: dict[_Kind, list[str]] = {}
        self._has_more: dict[_Kind, bool] = {}
        self._reacting: set[_Reaction] = set()
        # What is to become of reactions: the number of the change, or `None` to remove it.
        self._reactions: dict[_Reaction, int | None] = {}
        self._ended: list[int] = []
        self._unmentioned: list[tuple[str, int]] = []
        self._text_changes: dict[_Place, int] = {}

    def make(self, changes: Sequence[Change]) -> list[ChatMessage | ChatError]:
        """Makes changes, and returns the answer to each.

        Raises:
            apsw.Error: or another one, of a value or of the store: nothing is to be kept.
        """
        self._load(changes)
        answers = [self._answer(change) for change in changes]
        self._write()
        return [
            self._as_it_stands(answer) if needs_reactors(change.request) else answer
            for change, answer in zip(changes, answers, strict=True)
        ]

    def told(self) -> list[RoomChanges]:
        """What changed, by rooms."""
        rooms: dict[str, list[MessageChange]] = {}
        for (room_id, _), each in self.altered.items():
            rooms.setdefault(room_id, []).append(each.told)
        return [
            RoomChanges(room_id, self._before[room_id], self._numbers[room_id], messages)
            for room_id, messages in rooms.items()
        ]

    def _as_it_stands(self, answer: ChatMessage | ChatError) -> ChatMessage | ChatError:
        """Returns a message as this commit leaves it: one for all who have reacted to it."""
        if isinstance(answer, ChatError):
            return answer
        altered = self.altered.get((answer.room_id, answer.seq))
        return answer if altered is None else altered.message

    def _answer(self, change: Change) -> ChatMessage | ChatError:
        try:
            return self._change(change)
        except ChatError as error:
            return error

    def _change(self, change: Change) -> ChatMessage:
        request = change.request
        place = request.room_id, request.seq
        message = self._messages.get(place)
        if message is None:
            raise no_message(request)
        position = self._rooms[request.room_id] << SEQ_BITS | request.seq
        reaction = position, needs_reactors(request), request.user_id
        number = self._numbers[request.room_id] + 1
        outcome = decide(message, change, self._reactors(reaction), number, self._time)
        if outcome is None:
            return replace(message)
        self._numbers[request.room_id] = number
        if reaction[1]:
            self._react(reaction, number)
        if outcome.is_deletion:
            self._end(position, message)
        self._note(place, position, outcome)
        return outcome.message

    def _note(self, place: _Place, position: int, outcome: Outcome) -> None:
        self._messages[place] = outcome.message
        told = outcome.change
        earlier = self.altered.pop(place, None)
        if told.content is not None:
            self._text_changes[place] = told.state.change
        elif earlier is not None:
            told = MessageChange(told.seq, earlier.told.content, told.state)
        self.altered[place] = Altered(position, outcome.message, told)

    def _reactors(self, reaction: _Reaction) -> Reactors:
        position, emoji, _ = reaction
        first = self._first.get((position, emoji), [])
        return Reactors(first[: NAMED + 1], reaction in self._reacting)

    def _react(self, reaction: _Reaction, number: int) -> None:
        position, emoji, user_id = reaction
        first = self._first[position, emoji]
        if reaction in self._reacting:
            self._reacting.remove(reaction)
            self._reactions[reaction] = None
            if user_id in first:
                first.remove(user_id)
        else:
            self._reacting.add(reaction)
            self._reactions[reaction] = number
            if not self._has_more[position, emoji]:
                first.append(user_id)

    def _end(self, position: int, message: ChatMessage) -> None:
        """Nothing is left of a message but its place."""
        self._ended.append(position)
        extra = extra_of(message)
        if extra is not None:
            self._unmentioned += [(user_id, position) for user_id in mentioned(extra)]

    def _load(self, changes: Sequence[Change]) -> None:
        places = list({(each.request.room_id, each.request.seq) for each in changes})
        for nth, room, number, *columns, extra, state in query(self._connection, _LOAD, places):
            room_id, seq = place = places[nth]
            self._rooms[room_id] = room
            self._before[room_id] = self._numbers[room_id] = number
            waiting = self._journal.message_at(room_id, room << SEQ_BITS | seq)
            if waiting is not None:
                self._messages[place] = waiting
            elif columns[0] is not None:
                message_id, sender_id, sent_at, content = columns
                stored = stored_message(
                    (room_id, sender_id, message_id), seq, from_micros(sent_at), content
                )
                self._messages[place] = with_state(stored, extra, state)
        self._load_reactions(changes)

    def _load_reactions(self, changes: Sequence[Change]) -> None:
        asked = [
            (self._rooms[request.room_id] << SEQ_BITS | request.seq, emoji, request.user_id)
            for request in (each.request for each in changes)
            if (emoji := needs_reactors(request)) and request.room_id in self._rooms
        ]
        if not asked:
            return
        numbers = Counter((position, emoji) for position, emoji, _ in asked)
        kinds = list(numbers)
        # Each that goes in this commit makes room for another one.
        most = NAMED + 1 + max(numbers.values())
        for nth, users in query(self._connection, _FIRST, kinds, most):
            self._first[kinds[nth]] = users
            self._has_more[kinds[nth]] = len(users) == most
        self._reacting = {asked[nth] for nth in query(self._connection, _REACTING, asked)}

    def _write(self) -> None:
        altered = self.altered
        if not altered:
            return
        connection = self._connection
        write(connection, _STORE_STATES, (self._row(place) for place in altered))
        write(
            connection,
            _STORE_NUMBERS,
            ((self._rooms[room_id], self._numbers[room_id]) for room_id in {p[0] for p in altered}),
        )
        if texts := [each.position for each in altered.values() if each.has_new_text]:
            write(connection, _REMOVE_TEXTS, texts)
            scrub.note(connection, self._now)
        write(connection, _REMOVE_REACTIONS, self._reactions)
        write(connection, _REMOVE_ALL_REACTIONS, self._ended)
        write(connection, _REMOVE_MENTIONS, self._unmentioned)
        ended = set(self._ended)
        added = (
            (*reaction, number)
            for reaction, number in self._reactions.items()
            if number is not None and reaction[0] not in ended
        )
        write(connection, _ADD_REACTIONS, added)

    def _row(self, place: _Place) -> tuple[int, int, int, str | None, str]:
        position, _, told = self.altered[place]
        number = position >> SEQ_BITS << SEQ_BITS | told.state.change
        text_change = self._text_changes.get(place, 0)
        return position, number, text_change, told.content, digits_of(told.state)
