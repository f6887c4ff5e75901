"""The lease of a node: while it is renewed, the node lives, and so do the users it has.

A node says every two seconds that it lives for ten more. A user is active while one of the
nodes that live has a connection of it: nobody has to be told that a node died. All times are
those of the database's clock; a node's own only says when it is time for the next heartbeat.

====================================  ====================================================
what happens                          what follows
====================================  ====================================================
a node stops in order                 it takes its lease and its users back
it dies, or is cut off                others see its users for ten seconds more, and then
                                      clear its rows away
it was paused, and goes on            its lease begins anew, and it tells all users again
the database crashed, or a standby    the tables, which no log keeps, are empty: as above
took its place
====================================  ====================================================

The last two show alike: the heartbeat finds no row of the node. What users come and go is
told apart from heartbeats: all that has changed since the last time, in one statement.

A heartbeat also reads the epoch, and keeps up the claim that commits are synchronous, by which
the epoch is judged after a failover (see `epoch`).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final, NamedTuple

from chat.metrics import StoreMetrics
from chat.storage.base import StoreError, Unstorable
from chat.storage.postgres.epoch import Claim, Meta, Server
from chat.storage.postgres.side import SideConnection
from hosting.logs import get_logger

log = get_logger(__name__)

BEAT_SECONDS: Final = 2.0
LEASE_SECONDS: Final = 10.0
# Changes of this time are told together.
_GATHER_SECONDS: Final = 0.05
# How many users one statement tells of.
_MOST_USERS: Final = 5000
_LEAVE_SECONDS: Final = 2.0
# After how many heartbeats the rows of dead nodes are looked for.
_CLEAR_BEATS: Final = 10

# Commits wait for a standby if there is a list of them and nothing says that they need not.
# What this connection has set for itself does not count.
_BEAT: Final = """
WITH own AS (
    INSERT INTO chat.nodes (node, alive_until)
    VALUES ($1, clock_timestamp() + $2::float8 * interval '1 second')
    ON CONFLICT (node) DO UPDATE SET alive_until = excluded.alive_until
    RETURNING xmax = 0 AS is_new
), here AS (
    SELECT system_identifier || '/'
               || ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint
               AS server,
           CASE WHEN current_setting('synchronous_standby_names') <> ''
                     AND reset_val NOT IN ('local', 'remote_write')
                THEN 'on' ELSE 'off' END AS synchronous
    FROM pg_control_system(), pg_settings WHERE name = 'synchronous_commit'
), claimed AS (
    UPDATE chat.meta SET value = synchronous FROM here
    WHERE key = 'synchronous' AND value <> synchronous
      AND EXISTS (SELECT FROM chat.meta WHERE key = 'server' AND value = server)
)
SELECT is_new, server, synchronous = 'on' AS synchronous,
       (SELECT value FROM chat.meta WHERE key = 'epoch') AS epoch,
       (SELECT count(*) FROM chat.nodes
        WHERE node <> $1 AND alive_until > clock_timestamp()) AS others
FROM own, here
"""
_FORGET: Final = "DELETE FROM chat.active WHERE node = $1"
_TELL: Final = """
WITH gone AS (DELETE FROM chat.active WHERE node = $1 AND user_id = ANY ($3::text[]))
INSERT INTO chat.active (user_id, node) SELECT user_id, $1 FROM unnest($2::text[]) AS new (user_id)
ON CONFLICT DO NOTHING
"""
_CLEAR_NODES: Final = """
DELETE FROM chat.nodes WHERE alive_until < clock_timestamp() - $1::float8 * interval '1 second'
"""
# A look for each node, not for each user.
_CLEAR_USERS: Final = """
WITH RECURSIVE told AS (
    (SELECT node FROM chat.active ORDER BY node LIMIT 1)
    UNION ALL
    SELECT (SELECT node FROM chat.active WHERE active.node > told.node ORDER BY node LIMIT 1)
    FROM told WHERE told.node IS NOT NULL
)
DELETE FROM chat.active WHERE node IN (
    SELECT node FROM told WHERE NOT EXISTS (SELECT FROM chat.nodes WHERE nodes.node = told.node)
)
"""
_LEAVE: Final = """
WITH own AS (DELETE FROM chat.nodes WHERE node = $1) DELETE FROM chat.active WHERE node = $1
"""


class Changes(NamedTuple):
    """Users that became active, and users that are not any more."""

    come: list[str]
    gone: list[str]


class Roster:
    """The users that are active at a node, and which of them the database was told: no I/O."""

    def __init__(self) -> None:
        self._active: set[str] = set()
        self._untold: dict[str, None] = {}  # in order

    def __contains__(self, user_id: object) -> bool:
        return user_id in self._active

    @property
    def is_told(self) -> bool:
        """Whether there is nothing to tell."""
        return not self._untold

    def set(self, user_id: str, active: bool) -> None:
        """Notes whether a user is active."""
        (self._active.add if active else self._active.discard)(user_id)
        self._untold[user_id] = None

    def forget(self) -> None:
        """Notes that the database knows of nobody."""
        self._untold = dict.fromkeys(self._active)

    def take(self, most: int) -> Changes:
        """Takes some of what is to be told."""
        users = list(islice(self._untold, most))
        for user_id in users:
            del self._untold[user_id]
        come = [user_id for user_id in users if user_id in self._active]
        return Changes(come, [user_id for user_id in users if user_id not in self._active])

    def give_back(self, users: Iterable[str]) -> None:
        """Notes that these were not told after all."""
        self._untold.update(dict.fromkeys(users))


class Lease:
    """The lease of this node, from `start` to `close`.

    Args:
        node: its name, which no other node ever had.
        side: the connection for it.
        on_beat: is called with what each heartbeat finds.
        metrics: shows how long the lease lasts, and whether commits are synchronous.

    Attributes:
        others: how many other nodes lived at the last heartbeat; `None` before the first.
    """

    def __init__(
        self,
        node: str,
        side: SideConnection,
        on_beat: Callable[[Meta], None],
        metrics: StoreMetrics,
    ) -> None:
        self.others: int | None = None
        self._node = node
        self._side = side
        self._on_beat = on_beat
        self._metrics = metrics
        self._roster = Roster()
        self._changed = asyncio.Event()
        self._claim = Claim(None, synchronous=False)
        self._renewed_at = self._next_beat = -math.inf
        self._beats = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to renew it."""
        self._task = asyncio.create_task(self._run())

    def set_active(self, user_id: str, active: bool) -> None:
        """Notes whether a user is active at this node. Never blocks."""
        self._roster.set(user_id, active)
        self._changed.set()

    def is_active(self, user_id: str) -> bool:
        """Whether a user is active at this node."""
        return user_id in self._roster

    async def close(self) -> None:
        """Takes the lease back, if the database answers at once."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        try:
            async with asyncio.timeout(_LEAVE_SECONDS):
                await self._side.fetch(_LEAVE, self._node)
        except (StoreError, TimeoutError) as error:
            # It ends by itself.
            log.debug("the lease could not be taken back", reason=str(error))

    async def _run(self) -> None:
        while True:
            try:
                await self._step()
            except StoreError as error:
                log.debug("the lease could not be renewed", reason=str(error))
                self._changed.clear()  # nothing is told before the next heartbeat
            except Exception:
                # Whatever it is, the node has to go on saying that it lives.
                log.exception("the lease failed")
                self._changed.clear()
            self._note()
            await self._pause()

    async def _step(self) -> None:
        if time.monotonic() >= self._next_beat:
            self._next_beat = time.monotonic() + BEAT_SECONDS
            await self._beat()
        await self._tell(self._roster.take(_MOST_USERS))
        if not self._roster.is_told:
            self._changed.set()

    async def _pause(self) -> None:
        """Waits for changes, but not beyond the next heartbeat."""
        try:
            async with asyncio.timeout(max(0.0, self._next_beat - time.monotonic())):
                await self._changed.wait()
                await asyncio.sleep(_GATHER_SECONDS)
                self._changed.clear()
        except TimeoutError:
            pass

    async def _beat(self) -> None:
        began = time.monotonic()
        [beat] = await self._side.fetch(_BEAT, self._node, LEASE_SECONDS)
        is_new, server, is_synchronous, epoch, self.others = beat
        # It lasts from some time behind this on, whatever the answer took.
        self._renewed_at = began
        self._claim = Claim(Server.parse(server), is_synchronous)
        if is_new:
            await self._side.fetch(_FORGET, self._node)
            self._roster.forget()
        self._on_beat(Meta(epoch, self._claim))
        self._beats += 1
        if self._beats % _CLEAR_BEATS == 0:
            await self._side.fetch(_CLEAR_NODES, LEASE_SECONDS)
            await self._side.fetch(_CLEAR_USERS)

    async def _tell(self, changes: Changes) -> None:
        """Tells users; one that the database cannot have is left out."""
        users = [*changes.come, *changes.gone]
        if not users:
            return
        try:
            await self._side.fetch(_TELL, self._node, *changes)
        except Unstorable as error:
            if len(users) == 1:
                log.warning("a user's presence cannot be told", reason=str(error))
                return
            half = len(users) // 2
            for part in (set(users[:half]), set(users[half:])):
                await self._tell(Changes(*([each for each in c if each in part] for c in changes)))
        except BaseException:
            self._roster.give_back(users)
            raise

    def _note(self) -> None:
        left = self._renewed_at + LEASE_SECONDS - time.monotonic()
        self._metrics.lease_seconds = max(0.0, left)
        self._metrics.synchronous = float(self._claim.synchronous)
