"""The history that a node works on, and the connections that may be used for it.

Each connection is admitted before its first use. One that only reads may be used at once if it
leads to the server that was judged last, and that did not start anew since. Else it waits until
that server was judged (see `epoch`), over a connection of its own (see `suspicions`): the server
may have taken the place of another one, or been put back to an earlier state, and lack messages
that this node has seen. Each connection that writes is judged itself.

Before the judgement there is a barrier: a commit of its own, which waits for the synchronous
standby if there is one. A server that was killed shows, when it is back, what waited for its
standby, too; behind the barrier all of that is on the standby. Else it would be confirmed, when
it is sent again, by a statement that writes nothing and so waits for nothing.

If the judgement is another epoch, the node begins anew: the heads of followed rooms are read,
and then, in one turn of the event loop, the epoch changes and everybody is told. Until then, no
connection to the new server is used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from chat.metrics import StoreMetrics
from chat.storage.base import StoreError
from chat.storage.listener import Head
from chat.storage.postgres.change_following import ChangeFollowing, ChangeMark
from chat.storage.postgres.commit_watch import CommitWatch
from chat.storage.postgres.connections import READ_SECONDS, Connection
from chat.storage.postgres.epoch import Claim, Known, Server, judge, read_server
from chat.storage.postgres.errors import LeftBehind
from chat.storage.postgres.following import Following
from chat.storage.postgres.stays import Mark
from hosting.logs import get_logger

log = get_logger(__name__)

_HEADS: Final = "SELECT room_id, head, changes FROM chat.rooms WHERE room_id = ANY ($1::text[])"
_STARTED: Final = "SELECT pg_postmaster_start_time()"
# Written to the log of the database alone, where it is followed by nothing.
_BARRIER: Final = "SELECT pg_logical_emit_message(true, 'chat', '')"


class _Life(NamedTuple):
    """A server from its start to its end.

    Attributes:
        server: which one.
        started: when, by its clock.
    """

    server: Server
    started: datetime


class Doubt(NamedTuple):
    """That history is missing, by what a node saw.

    Attributes:
        epoch: the one that it is missing of.
        reason: for an operator.
    """

    epoch: str
    reason: str


class Admission:
    """The history of a node.

    Args:
        following: what was announced; it begins anew with another history.
        changes: likewise of the changes.
        renew: takes the new heads of each followed room.
        watch: looks at commits that take long.
        on_change: is called when connections lead elsewhere than before: those that are open are
            of no use any more.
        on_doubt: is called when there is something to be judged: to do it over a connection of
            its own, which waits for a standby as long as that takes.

    Attributes:
        epoch: the name of the history; empty until the first connection was admitted.
        claim: what the last heartbeat found: whether commits are known to be on a standby, too.
        acknowledged: the last message that an append of this node stored.
        acknowledged_change: the last change that this node stored.
    """

    def __init__(
        self,
        following: Following,
        changes: ChangeFollowing,
        renew: Callable[[Mapping[str, Head]], None],
        watch: CommitWatch,
        metrics: StoreMetrics,
        on_change: Callable[[], None],
        on_doubt: Callable[[], None],
    ) -> None:
        self.epoch = ""
        self.claim = Claim(None, synchronous=False)
        self.acknowledged: Mark | None = None
        self.acknowledged_change: ChangeMark | None = None
        self._following = following
        self._changes = changes
        self._renew = renew
        self._watch = watch
        self._metrics = metrics
        self._on_change = on_change
        self._on_doubt = on_doubt
        # Is set by the next judgement, and replaced then.
        self._judged = asyncio.Event()
        self._life: _Life | None = None
        self._newest: Server | None = None
        self._lock = asyncio.Lock()

    @property
    def server(self) -> Server | None:
        """The server that was judged last."""
        return None if self._life is None else self._life.server

    def expect(self, servers: Iterable[Server]) -> None:
        """Takes servers that take writes: none that another one was promoted over is used."""
        for server in servers:
            if self._newest is None or self._newest.is_behind(server):
                self._newest = server

    async def admit(self, connection: Connection) -> None:
        """Returns when a new connection may be used to read.

        Raises:
            asyncpg.PostgresError, asyncpg.InterfaceError, OSError, StoreError: it may not.
        """
        life = await _life_of(connection)
        while life != self._life:
            self._check_not_behind(life.server)
            await self.wait_judged()

    async def wait_judged(self) -> None:
        """Returns when the history was looked at once more; whoever waits has to set a limit."""
        self._on_doubt()
        await self._judged.wait()

    async def recognize(self, connection: Connection) -> None:
        """Returns when a new connection may be used for what does not belong to the history.

        It waits for no standby, unlike the others.

        Raises:
            asyncpg.PostgresError, asyncpg.InterfaceError, OSError, StoreError: it may not.
        """
        self._check_not_behind((await _life_of(connection)).server)

    async def insist(self, connection: Connection) -> None:
        """Returns if a new connection leads to the server that was judged last, as it was then.

        Raises:
            asyncpg.PostgresError, asyncpg.InterfaceError, OSError: it could not be found out.
            StoreError: it leads elsewhere.
        """
        life = await _life_of(connection)
        if life != self._life:
            raise StoreError(f"it is another server, or was restarted: {life.server}")

    async def judge(self, connection: Connection, doubt: Doubt | None = None) -> None:
        """Finds out over a connection which history it has, and begins anew if it is another.

        A commit may wait for a standby in here.

        Args:
            connection: to the database.
            doubt: what else shows that history is missing.

        Raises:
            asyncpg.PostgresError, asyncpg.InterfaceError, OSError, StoreError: it was not
                found out, and nothing has changed.
        """
        life = await _life_of(connection)
        self._check_not_behind(life.server)
        # An old primary that lives on may wait for its standby for ever: in here, nobody who
        # tries the next host waits with it.
        with self._watch.commit(connection):
            await connection.execute(_BARRIER)
        # Not to be cut off: a new epoch must not become visible without the standby.
        await asyncio.shield(asyncio.ensure_future(self._settle(connection, life, doubt)))

    async def _settle(self, connection: Connection, life: _Life, doubt: Doubt | None) -> None:
        async with self._lock:
            # A doubt is settled by another epoch, whoever has begun it.
            reason = doubt.reason if doubt is not None and doubt.epoch == self.epoch else ""
            with self._watch.commit(connection):
                verdict = await judge(connection, self._known(), reason)
            if self.epoch and verdict.epoch != self.epoch:
                await self._begin_anew(connection, verdict.epoch)
            self.epoch = verdict.epoch
            before, self._life = self._life, life
            if before is not None and before != life:
                log.info(
                    "the database is another server, or was restarted", server=str(life.server)
                )
                self._following.forget_heads()
                self._changes.forget_heads()
                self._on_change()
            self._judged.set()
            self._judged = asyncio.Event()

    def _check_not_behind(self, server: Server) -> None:
        for other in (self.server, self._newest):
            if server.is_behind(other):
                raise LeftBehind(f"server {server} was left behind by a failover to {other}")

    def _known(self) -> Known | None:
        if not self.epoch:
            return None
        marks = self._following.marks()
        if self.acknowledged is not None:
            marks.append(self.acknowledged)
        changes = self._changes.marks()
        if self.acknowledged_change is not None:
            changes.append(self.acknowledged_change)
        is_synchronous = self.claim == Claim(self.server, synchronous=True)
        return Known(self.epoch, Claim(self.server, is_synchronous), marks, changes)

    async def _begin_anew(self, connection: Connection, epoch: str) -> None:
        heads: dict[str, Head] = {}
        # Rooms may come to be followed while heads are read.
        while missing := self._following.missing(heads):
            rows = await connection.fetch(_HEADS, missing, timeout=READ_SECONDS)
            heads |= dict.fromkeys(missing, Head())
            heads |= {room_id: Head(*head) for room_id, *head in rows}
        self.epoch = epoch
        self.acknowledged = self.acknowledged_change = None
        # First, as what waits for a message is of the history of before.
        self._changes.renew({room_id: head.change for room_id, head in heads.items()})
        self._following.renew({room_id: head.seq for room_id, head in heads.items()})
        # Some may have been left meanwhile, and be entered anew.
        self._renew({room: head for room, head in heads.items() if room in self._following})
        self._metrics.epoch_changes += 1


async def _life_of(connection: Connection) -> _Life:
    async with asyncio.timeout(READ_SECONDS):
        return _Life(await read_server(connection), await connection.fetchval(_STARTED))
