"""What users have spent of their quotas over all nodes, as the time when it is paid back.

The same form as that of a bucket (`hosting.rate_limits.Bucket`), by the database's clock: what
is spent moves the time on. Nodes tell of it a while after it was spent, which is not to count
against a user: so much time is taken as gone by already.
"""

from __future__ import annotations

from typing import Final

from chat.storage.base import Spent
from chat.storage.postgres.side import SideConnection

# How long ago it was spent, about: nodes tell once a second.
_LATE_SECONDS: Final = 1.0
# After how many calls what is paid back is removed: a row may be needed for a while.
_CLEAR_CALLS: Final = 60
_KEPT_SECONDS: Final = 60.0
# So that no number is too large for anything that is done with it: ten thousand years.
_MOST: Final = 3e11

# Rows in the order of their keys, so that no two nodes wait for each other in a circle.
_SETTLE: Final = """
WITH now AS MATERIALIZED (
    SELECT extract(epoch FROM clock_timestamp())::float8 AS now
), told AS (
    INSERT INTO chat.spent AS known (user_id, kind, full_at)
    SELECT user_id, kind, now - $4::float8 + seconds
    FROM unnest($1::text[], $2::text[], $3::float8[]) AS new (user_id, kind, seconds), now
    ORDER BY user_id COLLATE "C", kind COLLATE "C"
    ON CONFLICT (user_id, kind) DO UPDATE
    SET full_at = excluded.full_at
        + greatest(0, known.full_at - (SELECT now FROM now) + $4::float8)
    RETURNING user_id, kind, full_at
)
SELECT user_id, kind, greatest(0, full_at - now) AS seconds FROM told, now
"""
_CLEAR: Final = """
DELETE FROM chat.spent WHERE full_at < extract(epoch FROM clock_timestamp()) - $1::float8
"""


class Spending:
    """What users have spent over all nodes.

    Args:
        side: the connection for it.
    """

    def __init__(self, side: SideConnection) -> None:
        self._side = side
        self._calls = 0

    async def settle(self, spent: Spent) -> Spent:
        """See `Store.settle`."""
        users = [user_id for user_id, _ in spent]
        kinds = [kind for _, kind in spent]
        seconds = [min(each, _MOST) for each in spent.values()]
        self._calls += 1
        if self._calls % _CLEAR_CALLS == 0:
            # First, so that what it fails of was not told yet.
            await self._side.fetch(_CLEAR, _KEPT_SECONDS)
        rows = await self._side.fetch(_SETTLE, users, kinds, seconds, _LATE_SECONDS)
        return {(user_id, kind): seconds for user_id, kind, seconds in rows}
