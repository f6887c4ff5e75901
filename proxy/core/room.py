"""One room of a proxy's clients, and how far it was delivered: no I/O.

How far is said by two numbers, which chain each by itself: the position of a message, and the
number of a change. A change never comes before its message. A server of before tells of no
changes: then there is no such number, and all else is the same.

::

    joining --joined--> live --link lost--> joining (from the last position)
       |                                       |
       +--refused--> gone                      +--joined--> live
"""

import asyncio
from enum import Enum, auto
from typing import Final

from gen.chat import ChatMessage, Error, Join, Joined, JoinFollow, RoomChanges
from proxy.core.attendance import Attendance
from proxy.core.changes import tells_room
from proxy.core.client import Client
from proxy.core.followers import Followers
from proxy.core.milestones import Milestones

_FOLLOW: Final = (JoinFollow(JoinFollow.CHANGES), JoinFollow(JoinFollow.READS))
_FOLLOW_PEOPLE: Final = (JoinFollow(JoinFollow.TYPING), JoinFollow(JoinFollow.PRESENCE))
_FOLLOW_FAULT: Final = "join.follow: "


class ProtocolViolation(Exception):
    """The server broke a rule: the stream cannot be trusted any more."""


class GapError(ProtocolViolation):
    """The server left out a message or a change."""


class Lost(Enum):
    """What there is a gap in, between what members have and what they will get."""

    NOTHING = auto()
    CHANGES = auto()
    ALL = auto()


class Room:
    """One room that a client is in, or is about to enter.

    Attributes:
        room_id: its id.
        join_ref: the ref of the `join` that was last sent to the server.
        live: whether the server has answered it.
        epoch: the epoch of its history, empty before it was first live.
        last_seq: the position that was last delivered.
        last_change: the change that was last delivered; `None` if the server tells of none.
        milestones: the positions that clients wait for who had them from another proxy;
            `None` in most rooms.
        change_milestones: the same for changes.
        members: the clients that get the next message, in the order of entering.
        followers: those of them that are told more than messages.
        attendance: the users that they are there for, and those of other proxies.
        has_people: whether the server tells who is there and who types, and is told: it is live,
            and the server is none of before.
        tentative: the members that only a message put in which is not confirmed yet, with
            the refs of all that they sent since then. If all are refused, they are
            taken out again.
        replaying: the clients that read what they missed. For each, the messages it sent
            meanwhile, with their request ids, by position: it finds them in the replay.
        pins: the number of clients that are about to enter.
        ready: ends with `None` once the room is live, or with the error that it cannot be.
    """

    __slots__ = (
        "_asked_for_people",
        "attendance",
        "change_milestones",
        "epoch",
        "followers",
        "has_people",
        "join_ref",
        "last_change",
        "last_seq",
        "live",
        "members",
        "milestones",
        "pins",
        "ready",
        "replaying",
        "room_id",
        "tentative",
    )

    def __init__(self, room_id: str) -> None:
        self.room_id = room_id
        self.join_ref = 0
        self.live = False
        self.epoch = ""
        self.last_seq = 0
        self.last_change: int | None = None
        self.members: dict[Client, None] = {}
        self.tentative: dict[Client, dict[int, None]] = {}
        self.replaying: dict[Client, dict[int, tuple[ChatMessage, str | None]]] = {}
        self.pins = 0
        self.followers = Followers()
        self.attendance = Attendance()
        self.has_people = self._asked_for_people = False
        self.milestones: Milestones | None = None
        self.change_milestones: Milestones | None = None
        self.ready: asyncio.Future[Error | None] = asyncio.get_running_loop().create_future()

    def note_sent(self, client: Client, ref: int, *, entered: bool) -> None:
        """Notes that a member has sent a message; `entered` if this put it in."""
        if entered:
            self.tentative[client] = {ref: None}
        elif client in self.tentative:
            self.tentative[client][ref] = None

    def keep_member(self, client: Client) -> None:
        """Keeps a member for good: a message of it was stored, or still may be."""
        self.tentative.pop(client, None)

    def keep_for_replay(self, client: Client, message: ChatMessage, request_id: str | None) -> bool:
        """Keeps an own message for the replay of its sender; returns False if there is none."""
        if client not in self.replaying:
            return False
        self.replaying[client][message.seq] = message, request_id
        return True

    def advance(self, seq: int) -> bool:
        """Notes that a message was stored at a position.

        Returns:
            Whether it is the next one; if not, it was delivered before.

        Raises:
            GapError: one is missing before it.
        """
        if not self.live or seq <= self.last_seq:
            return False
        if seq != self.last_seq + 1:
            raise GapError(f"room {self.room_id!r}: {seq} came after {self.last_seq}")
        self.last_seq = seq
        return True

    def advance_changes(self, changes: RoomChanges) -> bool:
        """Notes that messages changed.

        What was told before may be told again, in a newer state perhaps: that does no harm.

        Returns:
            Whether there is anything to tell.

        Raises:
            GapError: changes are missing before them, or a message that changed.
        """
        if not self.live:
            return False
        if self.last_change is None or changes.after_change > self.last_change:
            raise GapError(
                f"room {self.room_id!r}: changes behind {changes.after_change} came after"
                f" {self.last_change}"
            )
        seq = max((each.seq for each in changes.messages), default=0)
        if seq > self.last_seq:
            raise GapError(f"room {self.room_id!r}: {seq} changed before it came")
        is_new = changes.last_change > self.last_change
        self.last_change = max(self.last_change, changes.last_change)
        return is_new or bool(changes.messages) or tells_room(changes)

    def remains_without(self, client: Client, ref: int) -> bool:
        """Notes that a send was refused; returns whether its sender stays in the room."""
        refs = self.tentative.get(client)
        if refs is None:
            return True
        refs.pop(ref, None)
        return bool(refs)

    def leave(self, client: Client) -> None:
        """Takes a client out."""
        self.members.pop(client, None)
        self.tentative.pop(client, None)
        self.followers.discard(client)

    def start_join(self, ref: int, *, people: bool = True) -> Join:
        """Notes that the room is asked for; returns the request.

        Args:
            ref: its ref.
            people: whether to ask for who is there and who types, too.
        """
        self.link_lost()
        self.join_ref = ref
        self._asked_for_people = people
        follow = [*_FOLLOW, *_FOLLOW_PEOPLE] if people else [*_FOLLOW]
        if not self.epoch:
            return Join(self.room_id, follow=follow)
        return Join(self.room_id, self.last_seq, self.epoch, follow, self.last_change)

    def link_lost(self) -> None:
        """Notes that the last request will not be answered."""
        self.join_ref = 0
        self.live = self.has_people = self._asked_for_people = False
        self.attendance.link_lost()
        if self.ready.done():
            self.ready = asyncio.get_running_loop().create_future()

    def joined(self, joined: Joined) -> Lost:
        """Notes the server's answer; returns whether there is a gap now."""
        lost = Lost.NOTHING
        if not self.epoch or not joined.recovered:
            lost = Lost.ALL if self.epoch else Lost.NOTHING
            self.epoch = joined.epoch
            self.last_seq = joined.last_seq
            self.last_change = joined.last_change
            # A position of another history will never come.
            self._end_milestones()
        elif joined.last_change is None:
            # The server before this one told of changes, and what comes now will be missing.
            self.last_change = None
            self.note_delivered()
        elif self.last_change is None:
            lost = Lost.CHANGES
            self.last_change = joined.last_change
        self.live = True
        self.has_people = self._asked_for_people and joined.last_change is not None
        self._end_wait(None)
        return lost

    def is_refused_for_people(self, error: Error) -> bool:
        """Whether a `join` was refused by a server of before, which cannot tell of people."""
        return self._asked_for_people and error.message.startswith(_FOLLOW_FAULT)

    def join_refused(self, error: Error) -> None:
        """Notes that the server refused the join."""
        self._end_milestones()
        self._end_wait(error)

    def is_behind(self, join: Join) -> bool:
        """Whether a client has more of this history than was delivered here.

        It may come from another proxy, which is ahead of this one.
        """
        if join.epoch not in (None, self.epoch):
            return False
        return (join.after_seq or 0) > self.last_seq or self.lacks_change(join.after_change)

    def lacks_change(self, change: int | None) -> bool:
        """Whether a change was not delivered here that the server may have told of elsewhere."""
        return None not in (change, self.last_change) and (change or 0) > (self.last_change or 0)

    def milestone(self, seq: int) -> asyncio.Future[None]:
        """Returns a future that ends once a position was delivered, or never will be.

        Others wait for it as well: shield it.
        """
        if self.milestones is None:
            self.milestones = Milestones()
        future = self.milestones.at(seq)
        self.note_delivered()
        return future

    def change_milestone(self, change: int) -> asyncio.Future[None]:
        """As `milestone`, of a change."""
        if self.change_milestones is None:
            self.change_milestones = Milestones()
        future = self.change_milestones.at(change)
        self.note_delivered()
        return future

    def note_delivered(self) -> None:
        """Ends the milestones up to what was delivered; to be called behind each batch."""
        if self.milestones is not None:
            self.milestones.reached(self.last_seq)
            if not self.milestones:
                self.milestones = None
        if self.change_milestones is not None:
            if self.last_change is None:
                self.change_milestones.clear()
            else:
                self.change_milestones.reached(self.last_change)
            if not self.change_milestones:
                self.change_milestones = None

    def can_replay(self, join: Join, limit: int) -> bool:
        """Whether all that a client missed can be replayed to it, as far as the numbers tell.

        Several changes may be of one message. So it may turn out in a replay that more messages
        changed than may be replayed.

        Args:
            join: the position that the client has.
            limit: the most messages that may be replayed.
        """
        after_seq, epoch = join.after_seq, join.epoch
        if after_seq is None or after_seq > self.last_seq or self.lacks_change(join.after_change):
            return False
        if epoch is not None and epoch != self.epoch:
            return False
        return self.last_seq - after_seq <= limit

    def _end_milestones(self) -> None:
        for milestones in (self.milestones, self.change_milestones):
            if milestones is not None:
                milestones.clear()
        self.milestones = self.change_milestones = None

    def _end_wait(self, result: Error | None) -> None:
        if not self.ready.done():
            self.ready.set_result(result)
