"""One room of a proxy's clients, and how far it was delivered: no I/O.

::

    joining --joined--> live --link lost--> joining (from the last position)
       |                                       |
       +--refused--> gone                      +--joined--> live
"""

import asyncio

from gen.chat import ChatMessage, Error, Join, Joined
from proxy.core.client import Client
from proxy.core.milestones import Milestones


class ProtocolViolation(Exception):
    """The server broke a rule: the stream cannot be trusted any more."""


class GapError(ProtocolViolation):
    """The server left out a message."""


class Room:
    """One room that a client is in, or is about to enter.

    Attributes:
        room_id: its id.
        join_ref: the ref of the `join` that was last sent to the server.
        live: whether the server has answered it.
        epoch: the epoch of its history, empty before it was first live.
        last_seq: the position that was last delivered.
        milestones: the positions that clients wait for who had them from another proxy;
            `None` in most rooms.
        members: the clients that get the next message, in the order of entering.
        tentative: the members that only a message put in which is not confirmed yet, with
            the refs of all that they sent since then. If all are refused, they are
            taken out again.
        replaying: the clients that read what they missed. For each, the messages it sent
            meanwhile, with their request ids, by position: it finds them in the replay.
        pins: the number of clients that are about to enter.
        ready: ends with `None` once the room is live, or with the error that it cannot be.
    """

    __slots__ = (
        "epoch",
        "join_ref",
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
        self.members: dict[Client, None] = {}
        self.tentative: dict[Client, dict[int, None]] = {}
        self.replaying: dict[Client, dict[int, tuple[ChatMessage, str | None]]] = {}
        self.pins = 0
        self.milestones: Milestones | None = None
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

    def start_join(self, ref: int) -> Join:
        """Notes that the room is asked for; returns the request."""
        self.link_lost()
        self.join_ref = ref
        if not self.epoch:
            return Join(self.room_id)
        return Join(self.room_id, self.last_seq, self.epoch)

    def link_lost(self) -> None:
        """Notes that the last request will not be answered."""
        self.join_ref = 0
        self.live = False
        if self.ready.done():
            self.ready = asyncio.get_running_loop().create_future()

    def joined(self, joined: Joined) -> bool:
        """Notes the server's answer.

        Returns:
            Whether there is a gap between what the members have and what they will get.
        """
        resumed = bool(self.epoch)
        lost = resumed and not joined.recovered
        if not resumed or lost:
            self.epoch = joined.epoch
            self.last_seq = joined.last_seq
            # A position of another history will never come.
            self._end_milestones()
        self.live = True
        self._end_wait(None)
        return lost

    def join_refused(self, error: Error) -> None:
        """Notes that the server refused the join."""
        self._end_milestones()
        self._end_wait(error)

    def is_behind(self, join: Join) -> bool:
        """Whether a client has more of this history than was delivered here.

        It may come from another proxy, which is ahead of this one.
        """
        if join.after_seq is None or join.after_seq <= self.last_seq:
            return False
        return join.epoch in (None, self.epoch)

    def milestone(self, seq: int) -> asyncio.Future[None]:
        """Returns a future that ends once a position was delivered, or never will be.

        Others wait for it as well: shield it.
        """
        if self.milestones is None:
            self.milestones = Milestones()
        future = self.milestones.at(seq)
        self.note_delivered()
        return future

    def note_delivered(self) -> None:
        """Ends the milestones up to what was delivered; to be called behind each batch."""
        if self.milestones is not None:
            self.milestones.reached(self.last_seq)
            if not self.milestones:
                self.milestones = None

    def can_replay(self, join: Join, limit: int) -> bool:
        """Whether all that a client missed can be replayed to it.

        Args:
            join: the position that the client has.
            limit: the most messages that may be replayed.
        """
        after_seq, epoch = join.after_seq, join.epoch
        if after_seq is None or after_seq > self.last_seq:
            return False
        if epoch is not None and epoch != self.epoch:
            return False
        return self.last_seq - after_seq <= limit

    def _end_milestones(self) -> None:
        if self.milestones is not None:
            self.milestones.clear()
            self.milestones = None

    def _end_wait(self, result: Error | None) -> None:
        if not self.ready.done():
            self.ready.set_result(result)
