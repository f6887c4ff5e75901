"""The rule of epochs, against servers that fail over and nodes that judge in any order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from chat.storage.postgres.change_following import ChangeMark
from chat.storage.postgres.epoch import Action, Claim, Known, Meta, Server, decide
from chat.storage.postgres.stays import Mark
from tests.support import MODEL

OLD = Server(7, 1)
NEW = Server(7, 2)
SURE = Claim(OLD, synchronous=True)
UNSURE = Claim(OLD, synchronous=False)
ADOPTED = Claim(NEW, synchronous=False)
LATER = Server(7, 3)


def action(meta: Claim, server: Server, known: Known | None = None) -> Action:
    return decide(Meta("old", meta), server, known, None).action


@pytest.mark.parametrize(
    ("meta", "server", "known", "expected"),
    [
        pytest.param(UNSURE, OLD, None, Action.KEEP, id="same server"),
        pytest.param(UNSURE, OLD, UNSURE, Action.KEEP, id="same server, known"),
        pytest.param(SURE, NEW, None, Action.ADOPT, id="synchronous standby"),
        pytest.param(SURE, NEW, SURE, Action.ADOPT, id="synchronous standby, known"),
        pytest.param(ADOPTED, NEW, SURE, Action.KEEP, id="adopted by another node"),
        # This node saw commits that may be lost, which the other one did not know.
        pytest.param(ADOPTED, NEW, UNSURE, Action.ROTATE, id="adopted by one that knew less"),
        pytest.param(UNSURE, NEW, None, Action.ROTATE, id="asynchronous standby"),
        # The standby has an old claim, and this node saw that it does not hold any more.
        pytest.param(SURE, NEW, UNSURE, Action.ROTATE, id="withdrawn claim"),
        pytest.param(SURE, Server(8, 2), None, Action.ROTATE, id="restored dump"),
        pytest.param(Claim(None, synchronous=True), OLD, None, Action.ROTATE, id="no server"),
        # It takes a server that saw the other one: else nobody can know that it was left behind.
        pytest.param(SURE, OLD, SURE, Action.KEEP, id="perhaps left behind"),
        # One between them may have been asynchronous, and what the database said of it is lost.
        pytest.param(SURE, LATER, None, Action.ROTATE, id="server between them"),
        # A node that was away does not mind: others have judged each of them.
        pytest.param(Claim(LATER, synchronous=False), LATER, SURE, Action.KEEP, id="was away"),
    ],
)
def test_epoch_is_kept_if_nothing_can_be_lost(
    meta: Claim, server: Server, known: Claim | None, expected: Action
) -> None:
    assert action(meta, server, Known("old", known) if known else None) is expected


def test_loss_rotates_on_any_server() -> None:
    message, change = Mark("attic", 3, "ada", "x"), ChangeMark("attic", 3, 1)
    for server in (OLD, NEW):
        known = Known("old", SURE, [message], [change])
        for lost, text in ((message, "message 3"), (change, "change 3")):
            found = decide(Meta("old", SURE), server, known, lost)
            assert found.action is Action.ROTATE
            assert f"{text} of room 'attic'" in found.reason


@pytest.mark.parametrize("epoch", ["old", "new"])
def test_server_left_behind_is_refused(epoch: str) -> None:
    """What was stored behind the fork is on the other one."""
    found = decide(
        Meta("old", SURE), OLD, Known(epoch, Claim(NEW, synchronous=True)), Mark("attic", 3)
    )
    assert found.action is Action.REFUSE
    assert f"{OLD} was left behind by a failover to {NEW}" in found.reason


def test_another_epoch_is_followed() -> None:
    """What was seen under the old one says nothing of the new one."""
    known = Known("older", UNSURE, [Mark("attic", 3)])
    assert action(ADOPTED, NEW, known) is Action.KEEP


def test_server_is_read_as_it_was_written() -> None:
    assert Server.parse(str(NEW)) == NEW
    for text in ("", "7", "7/", "x/1", "7/1/2"):
        assert Server.parse(text) is None


class Message(NamedTuple):
    """An entry of a server's log."""

    room: int
    id: str


Entry = Message | Meta


@dataclass(eq=False)
class Database:
    """A primary, and how much of its log its standby has.

    Attributes:
        synchronous: whether a commit waits for the standby.
        replicated: how many entries the standby has.
    """

    server: Server
    log: list[Entry]
    synchronous: bool
    replicated: int = 0

    @property
    def meta(self) -> Meta:
        return next(entry for entry in reversed(self.log) if isinstance(entry, Meta))

    def room(self, room: int) -> list[str]:
        return [e.id for e in self.log if isinstance(e, Message) and e.room == room]

    def commit(self, entry: Entry) -> None:
        self.log.append(entry)
        if self.synchronous:
            self.replicated = len(self.log)


@dataclass(eq=False)
class Node:
    """A node.

    Attributes:
        judged: the database that it may append to, if it has judged its connection.
        pending: what it decided, and has not written yet.
        announced: the ids of the messages that it announced of each room.
        last: the last message that it had acknowledged.
    """

    known: Known | None = None
    judged: Database | None = None
    pending: tuple[Database, Meta, Action] | None = None
    announced: list[list[str]] = field(default_factory=lambda: [[], []])
    last: Mark | ChangeMark | None = None

    def marks(self) -> tuple[list[Mark], list[ChangeMark]]:
        found: list[Mark | ChangeMark] = [
            mark_of(room, ids) for room, ids in enumerate(self.announced) if ids
        ]
        found += [self.last] if self.last else []
        messages = [each for each in found if isinstance(each, Mark)]
        return messages, [each for each in found if isinstance(each, ChangeMark)]


NODES = st.integers(0, 1)
ROOMS = st.integers(0, 1)
CHANGES = 1
"""The room whose entries stand for changes: they are numbered, and lost, as messages are."""


def mark_of(room: int, ids: list[str]) -> Mark | ChangeMark:
    """The newest entry of a room."""
    if room == CHANGES:
        return ChangeMark(str(room), len(ids), int(ids[-1][1:]))
    return Mark(str(room), len(ids), "", ids[-1])


def is_there(mark: Mark | ChangeMark, ids: list[str]) -> bool:
    """Whether the entry of a mark is in its room."""
    if isinstance(mark, ChangeMark):
        return ids[mark.change - 1 : mark.change] == [f"m{mark.seq}"]
    return ids[mark.seq - 1 : mark.seq] == [mark.id]


class Failovers(RuleBasedStateMachine):
    """No position means two messages under one epoch, and no number two changes.

    What nobody can know is left out, as the module says: a claim that is withdrawn reaches
    each node that lives, or else the standby, before a message is lost.
    """

    def __init__(self) -> None:
        super().__init__()
        self.nodes = [Node() for _ in range(2)]
        self.seen: dict[tuple[str, int, int], str] = {}
        self.names = 0
        self.excused = False

    @initialize(synchronous=st.booleans())
    def begin(self, synchronous: bool) -> None:
        server = Server(1, 1)
        meta = Meta(self.name(), Claim(server, synchronous))
        self.database = Database(server, [meta], synchronous, 1)
        self.excused = not synchronous
        self.first = meta.epoch

    def name(self) -> str:
        self.names += 1
        return str(self.names)

    def see(self, epoch: str, room: int, seq: int, message_id: str) -> None:
        assert self.seen.setdefault((epoch, room, seq), message_id) == message_id

    @rule(nth=NODES)
    def read(self, nth: int) -> None:
        """A node connects anew, and decides by what it reads."""
        node, database = self.nodes[nth], self.database
        meta, known = database.meta, node.known
        lost: Mark | ChangeMark | None = None
        if known is not None and known.epoch == meta.epoch:
            known = Known(known.epoch, known.claim, *node.marks())
            marks: list[Mark | ChangeMark] = [*known.marks, *known.changes]
            for mark in marks:
                if not is_there(mark, database.room(int(mark.room_id))):
                    lost = mark
        found = decide(meta, database.server, known, lost).action
        node.judged, node.pending = None, (database, meta, found)

    @rule(nth=NODES)
    def write(self, nth: int) -> None:
        """It does so, if nobody else has come first and the connection still stands."""
        node, database = self.nodes[nth], self.database
        pending, node.pending = node.pending, None
        if pending is None or pending[0] is not database:
            return
        _, meta, found = pending
        claim = Claim(database.server, synchronous=False)
        now = database.meta
        if found is Action.KEEP:
            self.judged(node, meta.epoch)
        elif found is Action.ADOPT:
            if (now.epoch, now.claim.server) == (meta.epoch, meta.claim.server):
                database.commit(Meta(meta.epoch, claim))
        elif now.epoch == meta.epoch:
            database.commit(Meta(self.name(), claim))
            self.judged(node, database.meta.epoch)

    def judged(self, node: Node, epoch: str) -> None:
        if node.known is None or node.known.epoch != epoch:
            node.announced = [self.database.room(room) for room in range(2)]
            node.last = None
        node.known = Known(epoch, Claim(self.database.server, synchronous=False))
        node.judged = self.database

    def connect(self, nth: int) -> Node:
        """A node connects anew unless it may append, and is not disturbed meanwhile."""
        node = self.nodes[nth]
        while not self.may(node):
            self.read(nth)
            self.write(nth)
        return node

    @rule(nth=NODES, room=ROOMS)
    def append(self, nth: int, room: int) -> None:
        node, database = self.connect(nth), self.database
        database.commit(Message(room, f"m{self.name()}"))
        ids = database.room(room)
        assert node.known is not None
        self.see(node.known.epoch, room, len(ids), ids[-1])
        node.last = mark_of(room, ids)

    @rule(nth=NODES, room=ROOMS)
    def fetch(self, nth: int, room: int) -> None:
        """A node announces what others stored."""
        node = self.connect(nth)
        assert node.known is not None
        announced = node.announced[room]
        for message_id in self.database.room(room)[len(announced) :]:
            announced.append(message_id)
            self.see(node.known.epoch, room, len(announced), message_id)

    def may(self, node: Node) -> bool:
        """The statements of appends and fetches are refused under another epoch."""
        if node.judged is not self.database or node.known is None:
            return False
        if node.known.epoch != self.database.meta.epoch:
            node.judged = None
            return False
        return True

    @rule(nth=NODES)
    def heartbeat(self, nth: int) -> None:
        self.claim(self.connect(nth))

    def claim(self, node: Node) -> None:
        database = self.database
        epoch, claim = database.meta
        assert node.known is not None
        if claim.server == database.server:
            if claim.synchronous != database.synchronous:
                claim = Claim(database.server, database.synchronous)
                database.commit(Meta(epoch, claim))
            node.known = Known(node.known.epoch, claim)

    @rule(synchronous=st.booleans())
    def configure(self, synchronous: bool) -> None:
        """An operator changes the configuration."""
        self.database.synchronous = synchronous
        if not synchronous:
            for nth in range(len(self.nodes)):
                self.claim(self.connect(nth))

    @rule()
    def replicate(self) -> None:
        self.database.replicated = len(self.database.log)

    @rule(synchronous=st.booleans())
    def fail_over(self, synchronous: bool) -> None:
        old = self.database
        claims = [old.meta.claim, *(node.known.claim for node in self.nodes if node.known)]
        self.excused |= not all(claim.synchronous for claim in claims)
        self.excused |= old.meta.claim.server != old.server
        system, timeline = old.server
        self.database = Database(
            Server(system, timeline + 1), old.log[: old.replicated], synchronous, old.replicated
        )

    @rule(missing=st.integers(0, 3))
    def restore_dump(self, missing: int) -> None:
        self.excused = True
        old = self.database
        log = old.log[: max(1, len(old.log) - missing)]
        server = Server(old.server.system + 1, 1)
        self.database = Database(server, log, synchronous=False, replicated=len(log))

    @rule()
    def rotate_by_hand(self) -> None:
        self.excused = True
        claim = Claim(self.database.server, synchronous=False)
        self.database.commit(Meta(self.name(), claim))

    @rule(nth=NODES)
    def restart(self, nth: int) -> None:
        meta, known = self.database.meta, self.nodes[nth].known
        if not meta.claim.synchronous:
            self.replicate()
        elif known is not None and known.epoch == meta.epoch and not known.claim.synchronous:
            return  # a failover took the withdrawal, and this node alone would remember it
        self.nodes[nth] = Node()

    @invariant()
    def epoch_stays_while_nothing_may_be_lost(self) -> None:
        assert self.excused or self.database.meta.epoch == self.first


TestFailovers = Failovers.TestCase
TestFailovers.settings = settings(MODEL, max_examples=200, stateful_step_count=30)
