"""The storage interface, with the guarantees of an engine.

An engine serves one node, or several nodes that share a database: nothing above
this interface knows which.

**Atomicity.** Each message passed to `Store.append` is stored whole or not at
all. Messages of one call that are stored keep their order. One that cannot be
stored, because of its content, fails alone: neither the others of its call nor those that
other calls brought at the same time are refused with it.

**Order.** In a room, `seq` starts at 1 and goes up by 1 with each message
stored, whichever node stored it.

**Following.** A node follows the rooms that somebody is in. `follow` returns a position of
the room: all that it has behind that one, now or later, is announced until `unfollow`. A room
that nobody follows costs a node nothing, however much other nodes store in it.

**Once.** Of all messages with the same (room_id, sender_id, id), the first is
stored; the others get the first one back.

**Durability.** A message is announced, returned by `append` or found by `history`
only when it would survive a power failure. (An engine may offer less, as the one
in memory does; its documentation says so.)

**Announcement.** The engine calls `announce` in the event loop with the
messages that were newly stored in followed rooms, by any node: in each room in the order of
`seq`, without gaps from the position of `follow` on, and each message once. A message
is announced before the `append` that stored it returns, and after it can be
found by `last_seq` and `history`. (An engine may announce rooms that are not followed as well:
those of a single node announce all, from their opening on.)

**Changes.** What becomes of messages is numbered as well: in a room, `change` starts at 1 and
goes up by 1 with each change that is stored, whichever node stored it. `change` stores one as
`changes.decide` decides on it; one that holds already is none. `changed` is called in the event
loop for followed rooms, with spans that chain: each begins where the one before of its room
ended, the first at the head that `follow` returned. A change may be announced together with
later ones of its message, as the message stands then: of each message only what came last is
told, with its text if that is among them. A change is announced after its message, before the
call that made it returns, and once `history` and `changes` have it. `history` returns messages
as they stand; of what a page shows, `Page.last_change` tells how new it is at least. All of
this is as durable as messages are.

**Marks.** How far users have read is stored by `mark`; it does not go back unless it is told to.
`marked` is called in the event loop with each mark that moved, of followed rooms, once it is
stored. One of another node may be lost on its way: whoever asks gets the stored one.

**Rooms.** What is known of a room beside its messages (`Room`) is set by `set_room`. To set it is
a change of the room, with a number as those of messages have, and told with them, as that of a
message 0 would be: `RoomChanges.room` is there if the room was set last among these changes. A
room is listed once it has a message or was set. Its members are the users that have a mark in it,
be it one that went back to 0.

**Whispers.** Who types and who is there is never stored. Where nodes share a database, `whisper`
carries it to the others, and may lose it; `whispered` is called in the event loop with what
another node says of its own clients: of who types only in followed rooms. `met` is called with a
node that is to be told all anew, as it may have missed what was whispered before: it is new, or
its bus was down, or that of this node. `lost` is called with one that was closed, or has fallen
silent. A node keeps its name as long as it is open.

**Erasure.** What was deleted, or replaced by another text, is found by nothing above this
interface as soon as the change is announced. When an engine has removed it from its disk is in
the engine's documentation.

**Time.** `sent_at` is the wall clock of the engine, in microseconds: of the node where the
engine is a part of it, of the database where that is a server of its own.
In a room it does not go back as `seq` goes up, also over a restart,
while the clock is set back by no more than `stamps.LEAD_SECONDS`; times then wait
for the clock. Where it was set back further, they follow it, and the log says by
how much: no time is further ahead of the clock than that. The order is that of
`seq`, whatever the times.

**Epoch.** It stays the same as long as no announced message was lost. Where one was lost, or
may have been, the engine takes another epoch for all nodes, and then calls `renew` with the
heads of each followed room: what comes behind them is announced next. A position or the number
of a change means something together with its epoch alone: under one epoch, none ever has two
messages, or two meanings.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from chat.storage.changes import Change
from chat.storage.health import StoreHealth
from chat.storage.listener import Head, Whisper
from gen.chat import (
    ChatMessage,
    Mark,
    Room,
    RoomChanges,
    User,
)

Spent = Mapping[tuple[str, str], float]
"""By user id and kind of request: how much of an allowance is used, in seconds of its rate."""

MessageKey = tuple[str, str, str]
"""The idempotency key of a message: room_id, sender_id, id."""

MOST_MEMBERS = 1000
"""How many members of a room are counted."""

# A page of history stays under what gRPC clients accept by default (4 MiB),
# even when JSON escapes most of its characters.
PAGE_BYTES = 512 * 1024


class StoreError(Exception):
    """The store could not do it; the text is for the log.

    Nothing was stored, except as `PartlyStored` says, and except where an engine lost the
    connection to its database during a commit: then it is not known. In any case the same
    may succeed later, unless it is `Unstorable`, and to try is safe (see **Once**).
    """


class Unstorable(StoreError):
    """The content of a message or user cannot be stored, now or later."""


class Unanswered(StoreError):
    """It is not known whether it was done: the answer was lost, or did not come in time."""


class PartlyStored(StoreError):
    """Of the messages of one call of `append` some were stored, and others were not.

    Attributes:
        results: for each message, itself as `append` returns it, or its error.
    """

    def __init__(self, results: Sequence[ChatMessage | StoreError]) -> None:
        failures = [result for result in results if isinstance(result, StoreError)]
        super().__init__(f"{len(failures)} of {len(results)} messages not stored: {failures[0]}")
        self.results = results


class StoreUnusable(StoreError):
    """The store cannot be opened; the text is for a person, in one line."""


@dataclass(frozen=True, slots=True)
class Range:
    """The messages of a room strictly between two positions.

    With `after_seq`, the oldest of them come first into a page; otherwise the
    newest. `limit` is at least 1.
    """

    limit: int
    before_seq: int | None = None
    after_seq: int | None = None


class Page(NamedTuple):
    """Some messages of a room.

    Attributes:
        messages: oldest first; at most `PAGE_BYTES` of text and of what is beside it, and at
            least one message if there is one.
        has_more: whether the range holds more, in the direction of paging.
        last_change: all changes up to that one are in the messages; 0 in a room without any.
    """

    messages: list[ChatMessage]
    has_more: bool
    last_change: int = 0


class ChangesPage(NamedTuple):
    """Some changes of a room.

    Attributes:
        changes: in the order of the messages' last changes. It ends with the room's newest
            change, if there are no more.
        has_more: whether there are more behind them.
    """

    changes: RoomChanges
    has_more: bool


class ReactionRow(NamedTuple):
    """A user's reaction to a message; rows sort by kind, and then as they came.

    Attributes:
        change: the number of the change by which it came.
    """

    emoji: str
    change: int
    user_id: str


class Erased(NamedTuple):
    """What one step of an erasure did.

    Attributes:
        messages: how many messages it deleted.
        done: whether nothing of the user is left.
    """

    messages: int
    done: bool


class RoomIds(NamedTuple):
    """Some rooms.

    Attributes:
        ids: in their order.
        after: the id behind which the next ones are; empty if there are no more. There may be
            more even if `ids` is short, or empty: one call looks at so many rooms at most.
    """

    ids: list[str]
    after: str


class RoomRow(NamedTuple):
    """A room, as a list shows it.

    Attributes:
        room: what is known of it; with its id at least.
        last_message: the newest one, as it stands; `None` if there is none.
        mark: of the user for whom it was asked; `None` if there is none.
        members: how many users have a mark in it, at most `MOST_MEMBERS`.
    """

    room: Room
    last_message: ChatMessage | None
    mark: Mark | None
    members: int


class Store(ABC):
    """One engine, open.

    Attributes:
        health: whether it takes writes.
    """

    health: StoreHealth

    @property
    @abstractmethod
    def epoch(self) -> str:
        """The name of this history: 1 to 64 characters."""

    @property
    def is_shared(self) -> bool:
        """Whether other nodes may use the same database."""
        return False

    @abstractmethod
    def append(self, messages: Sequence[ChatMessage]) -> asyncio.Future[list[ChatMessage]]:
        """Stores messages, in order.

        The call itself only queues them, so that calls of one turn of the event
        loop are stored in the order they were made in. `id` must not be empty.
        The messages belong to the store from now on: it sets `seq` and `sent_at`.
        Each is an object of its own. Their senders are known users from now on.

        Returns:
            A future with one message for each, or `StoreError`: `Unstorable` if no message
            can be stored because of its content, `PartlyStored` if some cannot, or if the
            store failed in between. Where it is the very object that was passed, this call
            stored it; else it is the one that was stored first, which that one repeats.
        """

    @property
    def queued_bytes(self) -> int:
        """How much waits in the queue of `append`, roughly."""
        return 0

    @abstractmethod
    async def wait_writable(self) -> None:
        """Waits until the queue of `append` has room: backpressure for senders.

        It stays so for the rest of the turn of the event loop: all callers that append in
        it go over the bound by one call at most.
        """

    @abstractmethod
    async def follow(self, room_id: str) -> Head:
        """Lets a room be announced; see **Following** and **Changes**.

        If it is followed already, nothing changes.

        Returns:
            The head behind which all is announced. What is announced may already be
            further on when the caller goes on.

        Raises:
            StoreError: the head could not be read, and the room is not followed.
        """

    def unfollow(self, room_id: str) -> None:  # noqa: B027 - nothing to be done, as above
        """Lets a room be announced no longer. Never blocks.

        Nothing happens if it is not followed; a `follow` that is under way ends as it may.
        """

    async def catch_up(self, room_id: str) -> None:  # noqa: B027 - where others store, it has to do
        """Returns when all that was stored in a followed room before the call is announced.

        Changes, too.

        A client that comes from another node may have had more of a room than this node has.

        Raises:
            StoreError: it could not be read.
        """

    @abstractmethod
    async def last_seq(self, room_id: str) -> int:
        """Returns the `seq` of the newest message of a room, or 0."""

    @abstractmethod
    async def history(self, room_id: str, span: Range) -> Page:
        """Returns a page of a room's messages. Its cost does not grow with the room.

        It is of the history that `epoch` names when it returns, and has all that was announced.
        """

    @abstractmethod
    async def change(self, change: Change) -> ChatMessage:
        """Changes a message, unless what is asked holds already; see **Changes**.

        Args:
            change: a checked request.

        Returns:
            The message as it stands: another object than any that was returned before.

        Raises:
            NotFound: there is no such message.
            ChatError: see `changes.decide`; nothing was changed.
            StoreError: see there.
        """

    async def change_all(self, changes: Sequence[Change]) -> Sequence[ChatMessage | Exception]:
        """Makes changes that came together, in this order.

        Args:
            changes: checked requests.

        Returns:
            What became of each: the message as it stands, behind a reaction perhaps with later ones
            of these changes already, or the error of `change`. Several may be one object.
        """
        made = await asyncio.gather(*map(self.change, changes), return_exceptions=True)
        for each in made:
            if isinstance(each, BaseException) and not isinstance(each, Exception):
                raise each
        return [each for each in made if isinstance(each, ChatMessage | Exception)]

    @abstractmethod
    async def changes(self, room_id: str, after_change: int, limit: int) -> ChangesPage:
        """Returns what changed in a room behind a change. Its cost does not grow with the room.

        A message whose text ever changed comes with it: of two pages, the first may end between
        an edit and a later change of the same message, and then only the second one has it.

        Args:
            room_id: the room.
            after_change: the change.
            limit: how many messages at most, the room itself as one of them; at least 1. Of
                more text than fits into a page they are fewer.

        It is of the history that `epoch` names when it returns, and has all that was announced.
        """

    @abstractmethod
    async def count_changes(self, room_id: str, after_change: int, most: int) -> int:
        """Returns how many messages of a room changed behind a change; `most` if there are more.

        The room itself counts as one of them.
        """

    @abstractmethod
    async def reactions(
        self, room_id: str, seq: int, user_id: str, after: tuple[str, int] | None, limit: int
    ) -> list[ReactionRow]:
        """Returns reactions to a message, in their order.

        Args:
            room_id: the room.
            seq: the message.
            user_id: only of this user; empty for all.
            after: kind and change behind which they begin; `None` for the beginning.
            limit: how many at most.
        """

    @abstractmethod
    async def mark(self, user_id: str, room_id: str, seq: int, *, back: bool) -> Mark:
        """Notes how far a user has read; see **Marks**. Calls of one moment share a commit.

        Args:
            user_id: the user, who need not be known.
            room_id: the room.
            seq: the position; more than there is stands for the newest. If it is not beyond the
                stored one, nothing is stored.
            back: whether it may go back.

        Returns:
            How far the user has read now.

        Raises:
            StoreError: see there.
        """

    @abstractmethod
    async def erase(self, user_id: str, limit: int) -> Erased:
        """Goes on to erase a user, by one step: messages, reactions, marks, mentions, profile.

        The first step notes that it has to be done, so that it can be gone on with after a
        restart (`erasures`). Each deletion and each reaction taken back is a change. A user of
        whom nothing is known is erased by one step. What it sends from then on is new.

        Args:
            user_id: the user.
            limit: how many messages, or reactions, at most.
        """

    async def erasures(self) -> list[str]:
        """Returns the users whose erasure was begun and is not done."""
        return []

    @abstractmethod
    async def set_room(self, room: Room, if_change: int | None) -> Room:
        """Sets what is known of a room, unless that holds already; see **Rooms**.

        Args:
            room: as it is to be, checked; its `change` is of no account.
            if_change: only if `Room.change` is this.

        Returns:
            It as it stands.

        Raises:
            FailedPrecondition: `if_change` does not hold, nor what is asked.
            StoreError: see there.
        """

    @abstractmethod
    async def room_ids(self, after_id: str, limit: int, query: str, marked_by: str) -> RoomIds:
        """Lists rooms; see **Rooms**. Its cost does not grow with the rooms before them.

        Args:
            after_id: only those whose id sorts behind this, by Unicode code points.
            limit: how many at most.
            query: only those whose id or title has this in it, by `rooms.is_found`; or empty.
            marked_by: only those that this user has a mark in; or empty.
        """

    @abstractmethod
    async def room_rows(self, room_ids: Sequence[str], user_id: str) -> list[RoomRow]:
        """Returns what a list shows of rooms, in the order of `room_ids`.

        Args:
            room_ids: the rooms, each once; those that are not known have a row, too.
            user_id: the user whose marks are in it; or empty.
        """

    @abstractmethod
    async def members(self, room_id: str, after_id: str, limit: int) -> list[str]:
        """Returns members of a room whose id sorts behind `after_id`, in the order of ids."""

    def whisper(self, told: Whisper) -> None:  # noqa: B027 - no other nodes
        """Tells other nodes who types in a room, or is there, of this node's clients.

        Never blocks. Of what waits to be told of a room, the newest of its kind is told, to the
        nodes that there are then. See **Whispers**.
        """

    @abstractmethod
    async def get_users(self, user_ids: Sequence[str]) -> list[User]:
        """Returns those of some users that are known, in any order."""

    @abstractmethod
    async def get_user(self, user_id: str) -> User | None:
        """Returns a user, or `None` if nobody of that id is known."""

    @abstractmethod
    async def upsert_user(self, user_id: str, name: str, email: str, tone: int = 0) -> User:
        """Creates a user or replaces its name, e-mail address and colour; returns it."""

    @abstractmethod
    async def list_users(self, after_id: str, limit: int) -> list[User]:
        """Returns known users whose id sorts after `after_id`, in the order of ids."""

    @abstractmethod
    def set_active(self, user_id: str, active: bool) -> None:
        """Notes whether a user has an open connection to this node. Never blocks.

        A user is active while it has one to any node. It ends with the node: after a restart
        nobody is active there.
        """

    async def settle(self, spent: Spent) -> Spent:  # noqa: ARG002 - there are no other nodes
        """Tells other nodes how much users have spent here, and learns how much they have there.

        Args:
            spent: what was spent at this node since the last call.

        Returns:
            What all nodes have spent and time has not yet given back, of each key in `spent`.
            Nothing, where the database is not shared.

        Raises:
            Unanswered: it may count already.
            StoreError: it could not be told otherwise; it counts for nothing.
        """
        return {}

    @abstractmethod
    async def close(self) -> None:
        """Stores all that is queued, then closes. No method may be called later."""


def key_of(message: ChatMessage) -> MessageKey:
    """Returns the idempotency key of a message."""
    return message.room_id, message.sender_id, message.id
