"""The epoch of a history on servers that may take each other's place: the rule, and its check.

A position means something only under its epoch: **no position may mean two messages under
one epoch**. A PostgreSQL server that fails is replaced by a standby. One that was not
synchronous lacks the last commits, and would give their positions again. So each connection
is judged before anything is appended over it (`judge`), by what it leads to:

- `Server`: the system identifier, which a base backup and a standby share and a restored
  dump does not, and the timeline, which a promotion and a recovery to a point in time count
  up (https://www.postgresql.org/docs/current/continuous-archiving.html, 26.3.6). The timeline
  is the one that is written to: that of `pg_control_checkpoint` lags after a promotion.
- `Meta`: what the database says of itself. Its epoch, the server that this was last decided
  for, and whether commits there were known to be synchronous (a claim, kept up by the
  heartbeat of every node). A standby that has a claim has all that was committed before it.
- `Known`: what this node saw. Each message and each change that it had acknowledged or announced
  must be there.

`decide` is the rule. The log of a server is lost from its end, so a node need only look for the
newest of what it saw in each room. Who rotates does so by compare-and-set: of two nodes that
judge at once one rotates, and the other follows. The append function is told the epoch and
refuses under another one.

What nobody can know: a claim of synchronous commits that was withdrawn on the old server, not
replicated, and seen by no node that still lives; a standby promoted though another one had more;
an old primary that is still written to by those who did not see the failover. For these
`chat.commands.new_epoch` rotates by hand.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple, TypeAlias

import asyncpg

from chat.storage.base import StoreError, StoreUnusable
from chat.storage.postgres.change_following import ChangeMark
from chat.storage.postgres.stays import Mark
from hosting.logs import get_logger

log = get_logger(__name__)

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_SERVER: Final = """
SELECT system_identifier,
       ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint
FROM pg_control_system()
"""
_FOUND: Final = """
INSERT INTO chat.meta (key, value)
SELECT * FROM (VALUES ('epoch', $1), ('server', $2), ('synchronous', 'off')) AS new (key, value)
WHERE NOT EXISTS (SELECT FROM chat.meta WHERE key = 'epoch')
ORDER BY key
ON CONFLICT (key) DO NOTHING
"""
_META: Final = "SELECT key, value FROM chat.meta WHERE key IN ('epoch', 'server', 'synchronous')"
# A subquery for each mark, which is a look at two indexes: a join might read all messages.
_LOST: Final = """
SELECT room_id, seq
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[]) AS mark (room_id, seq, sender_id, id)
WHERE seq > 0 AND (
    SELECT true FROM chat.rooms JOIN chat.messages AS found USING (room)
    WHERE rooms.room_id = mark.room_id AND found.seq = mark.seq
      AND (mark.id = '' OR (found.sender_id = mark.sender_id AND found.id = mark.id))
) IS NULL
LIMIT 1
"""
# A change that was overtaken is on no message any more; but its message has a later one then.
_UNDONE: Final = """
SELECT room_id, change, seq
FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS mark (room_id, change, seq)
WHERE change > 0 AND (
    SELECT true FROM chat.rooms
    WHERE rooms.room_id = mark.room_id AND rooms.changes >= mark.change AND (mark.seq < 0 OR (
        SELECT true FROM chat.states
        WHERE states.room = rooms.room AND states.seq = mark.seq AND states.change >= mark.change
    ))
) IS NULL
LIMIT 1
"""
_ADOPT: Final = """
UPDATE chat.meta SET value = CASE key WHEN 'server' THEN $3 ELSE 'off' END
WHERE key IN ('server', 'synchronous')
  AND EXISTS (SELECT FROM chat.meta WHERE key = 'epoch' AND value = $1)
  AND EXISTS (SELECT FROM chat.meta WHERE key = 'server' AND value = $2)
"""
_ROTATE: Final = """
WITH rotated AS (
    UPDATE chat.meta SET value = $2 WHERE key = 'epoch' AND value = $1 RETURNING true
)
INSERT INTO chat.meta (key, value)
SELECT key, value FROM rotated, (VALUES ('server', $3), ('synchronous', 'off')) AS new (key, value)
ON CONFLICT (key) DO UPDATE SET value = excluded.value
RETURNING true
"""


class Server(NamedTuple):
    """A server that takes writes, and which of its histories it writes.

    Attributes:
        system: the system identifier, which all copies of a cluster share.
        timeline: goes up with each promotion and each recovery to a point in time.
    """

    system: int
    timeline: int

    def __str__(self) -> str:
        return f"{self.system}/{self.timeline}"

    @classmethod
    def parse(cls, text: str) -> "Server | None":
        """Reads what `str` wrote; `None` if it did not."""
        system, _, timeline = text.partition("/")
        if system.isdecimal() and timeline.isdecimal():
            return cls(int(system), int(timeline))
        return None

    def promotions(self, since: "Server | None") -> int:
        """How many promotions lie between another server and this one; 0 if it is no heir of it."""
        if since is None or self.system != since.system:
            return 0
        return max(0, self.timeline - since.timeline)

    def is_behind(self, other: "Server | None") -> bool:
        """Whether another one is an heir of this one."""
        return other is not None and other.promotions(self) > 0


class Claim(NamedTuple):
    """Whether the commits of a server were synchronous.

    Attributes:
        server: whose; `None` if that is not known.
        synchronous: whether each commit that was acknowledged was on a standby by then.
    """

    server: Server | None
    synchronous: bool


class Meta(NamedTuple):
    """What a database says of itself."""

    epoch: str
    claim: Claim


@dataclass(frozen=True, slots=True)
class Known:
    """What a node saw under an epoch.

    Attributes:
        epoch: the epoch it works under.
        claim: of the server that it was last connected to.
        marks: the newest message announced of each followed room, and the last message
            that an append of this node acknowledged.
        changes: likewise of the changes.
    """

    epoch: str
    claim: Claim
    marks: Sequence[Mark] = ()
    changes: Sequence[ChangeMark] = ()


class Verdict(NamedTuple):
    """What a node may append under over a connection.

    Attributes:
        epoch: the epoch; another than before if messages may be lost, or another node said so.
        server: where the connection leads.
    """

    epoch: str
    server: Server


class Action(Enum):
    """What is to be done about the epoch of a database.

    Attributes:
        KEEP: nothing: the epoch holds. If it is not the node's own, the node follows it.
        ADOPT: the epoch holds, and the server is noted as the one that has it.
        ROTATE: a new epoch begins.
        REFUSE: this is not the database any more: a server that was left behind.
    """

    KEEP = "keep"
    ADOPT = "adopt"
    ROTATE = "rotate"
    REFUSE = "refuse"


class Decision(NamedTuple):
    """An action, and the reason for an operator if it is to rotate or to refuse."""

    action: Action
    reason: str = ""


def decide(
    meta: Meta, server: Server, known: Known | None, lost: Mark | ChangeMark | None
) -> Decision:
    """Decides about the epoch of a database.

    Args:
        meta: what it says.
        server: where it is.
        known: what this node saw, if it saw anything.
        lost: a message among `known.marks`, or a change among `known.changes`, that is not there.
    """
    claims = [meta.claim]
    if known is not None and server.is_behind(known.claim.server):
        return Decision(
            Action.REFUSE,
            f"server {server} was left behind by a failover to {known.claim.server}: stop it (or,"
            " if an old backup was restored on purpose, start this process again)",
        )
    # What was seen under another epoch says nothing of this one.
    if known is not None and known.epoch == meta.epoch:
        if lost is not None:
            what = (
                f"change {lost.change}" if isinstance(lost, ChangeMark) else f"message {lost.seq}"
            )
            return Decision(Action.ROTATE, f"{what} of room {lost.room_id!r} is not there any more")
        claims.append(known.claim)
    for claim in claims:
        if claim.server == server:
            continue
        promotions = server.promotions(claim.server)
        # A server in between may have lost what the database said of it. It is no matter
        # for what this node alone saw before, where others have noted the one there is now.
        if not promotions or (promotions > 1 and claim is meta.claim):
            return Decision(Action.ROTATE, f"the database was on server {claim.server} before")
        if not claim.synchronous:
            return Decision(
                Action.ROTATE,
                f"commits on server {claim.server} were not known to be on a standby",
            )
    return Decision(Action.KEEP if meta.claim.server == server else Action.ADOPT)


async def read_server(connection: Connection) -> Server:
    """Asks where a connection leads.

    Raises:
        asyncpg.PostgresError: it does not take writes, among others.
        OSError: the connection is lost.
    """
    [row] = await connection.fetch(_SERVER)
    return Server(*row)


async def judge(connection: Connection, known: Known | None = None, doubt: str = "") -> Verdict:
    """Finds out under which epoch may be appended over a connection; see the top of this file.

    A commit of it that waits for a standby makes this wait, too.

    Args:
        connection: to a database that has the tables; not in a transaction.
        known: what this node saw; `None` when it opens the database.
        doubt: what else shows that history is missing, for an operator: then a new epoch begins,
            unless another node has begun one.

    Raises:
        StoreUnusable: the database says nothing of its epoch.
        StoreError: the server was left behind by a failover.
        asyncpg.PostgresError, asyncpg.InterfaceError, OSError: it could not be found out.
    """
    server = await read_server(connection)
    await connection.execute(_FOUND, _new_epoch(), str(server))
    while True:
        meta = await _read_meta(connection)
        lost = await _find_lost(connection, meta, known)
        action, reason = decide(meta, server, known, lost)
        if doubt and known is not None and known.epoch == meta.epoch:
            action, reason = Action.ROTATE, doubt
        if action is Action.REFUSE:
            raise StoreError(reason)
        if action is Action.KEEP:
            return Verdict(meta.epoch, server)
        if action is Action.ADOPT:
            log.info("the database is on another server now", server=str(server))
            await connection.execute(_ADOPT, meta.epoch, str(meta.claim.server), str(server))
            # Another node may have come first: what it decided is looked at again.
            continue
        epoch = _new_epoch()
        if await connection.fetchval(_ROTATE, meta.epoch, epoch, str(server)):
            log.error(
                "messages may be lost: the history is another one from now on",
                reason=reason,
                server=str(server),
                old_epoch=meta.epoch,
                epoch=epoch,
            )
            return Verdict(epoch, server)


async def rotate(connection: Connection) -> tuple[str, str]:
    """Begins a new epoch, whatever there is; returns the old one and the new one.

    Raises:
        StoreUnusable, asyncpg.PostgresError, asyncpg.InterfaceError, OSError: see `judge`.
    """
    server = await read_server(connection)
    while True:
        old, new = (await _read_meta(connection)).epoch, _new_epoch()
        if await connection.fetchval(_ROTATE, old, new, str(server)):
            return old, new


def _new_epoch() -> str:
    return uuid.uuid4().hex


async def _read_meta(connection: Connection) -> Meta:
    found = {row["key"]: row["value"] for row in await connection.fetch(_META)}
    if not found.get("epoch"):
        raise StoreUnusable("the database has no epoch: it is damaged")
    claim = Claim(Server.parse(found.get("server", "")), found.get("synchronous") == "on")
    return Meta(found["epoch"], claim)


async def _find_lost(
    connection: Connection, meta: Meta, known: Known | None
) -> Mark | ChangeMark | None:
    if known is None or known.epoch != meta.epoch:
        return None
    if known.marks:
        columns = list(zip(*known.marks, strict=True))
        if row := await connection.fetchrow(_LOST, *map(list, columns)):
            return Mark(*row)
    if known.changes:
        columns = list(zip(*known.changes, strict=True))
        if row := await connection.fetchrow(_UNDONE, *map(list, columns)):
            return ChangeMark(*row)
    return None
