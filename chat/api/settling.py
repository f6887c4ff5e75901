"""Quotas of users over all nodes.

Each node decides at once, by buckets of its own. What a user has spent is told to the other
nodes once a second (`Store.settle`), and what it spent in all comes back, as the seconds until
its bucket would be full again if it had only one. So the rate of a user holds over all nodes in
the long run: what several nodes granted too much of, because none of them knew of the others,
is owed, and nothing more is granted until time has paid it back. That is at most a full bucket,
and what flows into it in `SECONDS` and until it is `NOTICEABLE`, for each further node.

Users who spend little are not told of at once: what they spent is added up first. Of those who
then pause for a minute that little is forgotten.

While the store is away the buckets go on as if there were no other nodes. What could not be told
is paid back by time meanwhile, as in a bucket, so that nobody who keeps to its rate owes for an
outage. If the answer was lost it may have been told, and is not told again: better too little is
owed than the same twice. Where a store is not shared, nothing of this runs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice
from typing import Final

from chat.storage.base import Store, StoreError, Unanswered, Unstorable
from hosting.faults import Faults
from hosting.logs import get_logger
from hosting.rate_limits import Bucket

log = get_logger(__name__)

SECONDS: Final = 1.0
"""How often other nodes are told."""
NOTICEABLE: Final = 1.0
"""How much a user must have spent to be told of, in seconds of its rate."""

_FORGET_SECONDS: Final = 60.0
# How many are told of by one statement.
_MOST: Final = 5000

Key = tuple[str, str]
"""User id and kind of request."""


class Tab:
    """What users have spent here, and other nodes were not told: no I/O.

    Args:
        now: the time in seconds; it never runs backward.
    """

    def __init__(self, now: float) -> None:
        # Of two generations: whoever spends is moved to the younger one.
        self._young: dict[Key, float] = {}
        self._old: dict[Key, float] = {}
        self._noticeable: dict[Key, None] = {}
        # When what was given back will be paid back: of those who are taken next.
        self._paid_at: dict[Key, float] = {}
        self._failed_at: float | None = None
        self._turn_at = now + _FORGET_SECONDS

    def __len__(self) -> int:
        return len(self._young) + len(self._old) + len(self._paid_at)

    def of(self, key: Key) -> float:
        """How much a user has spent since it was taken."""
        return self._young.get(key, 0.0) + self._old.get(key, 0.0)

    def add(self, key: Key, seconds: float) -> None:
        """Notes what a user has spent, or has got back, in seconds of its rate."""
        total = self._young[key] = self._young.get(key, 0.0) + self._old.pop(key, 0.0) + seconds
        if total >= NOTICEABLE:
            self._noticeable[key] = None

    def take(self, now: float) -> dict[Key, float]:
        """Takes what is to be told, as if it was spent `SECONDS` ago.

        After a failure much may have been spent since the take that failed, and time has paid it
        back meanwhile: no more is taken than the user's own bucket lacks.
        """
        spent_at = now - SECONDS
        since = spent_at if self._failed_at is None else min(self._failed_at, spent_at)
        self._failed_at = None
        keys = list(islice(self._noticeable, _MOST))
        taken = {}
        for key in keys:
            del self._noticeable[key]
            total = self._young.pop(key, 0.0) + self._old.pop(key, 0.0)
            total += self._paid_at.pop(key, since) - spent_at
            if total > 0:  # it may have been given back, or paid back
                taken[key] = total
        if now >= self._turn_at:
            self._turn_at = now + _FORGET_SECONDS
            self._old, self._young = self._young, {}
        return taken

    def give_back(self, spent: Mapping[Key, float], taken_at: float) -> None:
        """Notes that it was not told after all: from when it was taken, time pays it back.

        Args:
            spent: what was taken; nothing of it, if it may have been told.
            taken_at: when.
        """
        self._failed_at = taken_at
        for key, seconds in spent.items():
            # It was spent up to `SECONDS` before: what time paid back until then is no credit.
            self._paid_at[key] = taken_at + max(0.0, seconds - SECONDS)
            self._noticeable[key] = None

    def bucket(self, user_id: str, kind: str, per_second: float, holds: float) -> MeteredBucket:
        """Makes a bucket of a user, which notes here what is spent."""
        return MeteredBucket(per_second, holds, partial(self.add, (user_id, kind)))


class MeteredBucket(Bucket):
    """A bucket that tells what is taken out.

    Args:
        per_second, holds: see `Bucket`; there is a limit.
        on_spent: is called with what was taken out, in seconds of the rate.
    """

    __slots__ = ("_on_spent",)

    def __init__(self, per_second: float, holds: float, on_spent: Callable[[float], None]) -> None:
        super().__init__(per_second, holds)
        self._on_spent = on_spent

    def take(self, now: float, n: float = 1) -> float:
        """See `Bucket`."""
        wait = super().take(now, n)
        if not wait:
            self._on_spent(n * self._interval)
        return wait

    def spend(self, now: float, n: float) -> float:
        """See `Bucket`."""
        self._on_spent(n * self._interval)
        return super().spend(now, n)

    def give_back(self, n: float = 1) -> None:
        """See `Bucket`."""
        self._on_spent(-n * self._interval)
        super().give_back(n)


async def settle(store: Store, tab: Tab, owe: Callable[[Key, float], None], faults: Faults) -> None:
    """Tells other nodes what was spent here, and learns what was spent there, for ever.

    Args:
        store: the shared one.
        tab: what was spent.
        owe: is called with what a user has spent in all.
        faults: logs what goes wrong.
    """
    while True:
        await asyncio.sleep(SECONDS)
        now = time.monotonic()
        spent = tab.take(now)
        if not spent:
            continue
        try:
            for key, seconds in (await store.settle(spent)).items():
                owe(key, seconds)
        except Unstorable as error:
            # It would be so again, and keep all others from being told.
            faults.log("quotas not settled", error)
        except Unanswered as error:
            tab.give_back({}, now)
            log.debug("other nodes may not know what users have spent", reason=str(error))
        except StoreError as error:
            tab.give_back(spent, now)
            log.debug("other nodes were not told what users have spent", reason=str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, quotas go on
            faults.log("quotas not settled", error)
