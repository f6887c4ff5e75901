"""The users of one room, by who told of them: no I/O.

A source is a client's stream, a proxy's link, or another node. It names users, and may tell of
more than it names. A user that the last source no longer names is here until it has been gone for
a while, so that whoever comes back meanwhile was never away. Of users that are only counted the
most that there were within that while are here: a lost link that comes back counts once. Whoever
is named now, and was only counted before, has neither come nor gone.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Final, Generic, NamedTuple, TypeVar

Source = TypeVar("Source", bound=Hashable)

# How many falls of a count are remembered one by one.
_MOST_STEPS: Final = 32


class Report(NamedTuple):
    """What a source tells of a room.

    Attributes:
        names: the users that it names.
        others: how many there are beside them.
    """

    names: dict[str, None]
    others: int


_NOTHING: Final = Report({}, 0)


class HeldCount:
    """A number that is lowered only after a while: the most that it was within it."""

    __slots__ = ("_before", "_now")

    def __init__(self) -> None:
        self._now = 0
        # Larger ones of before, and until when each is held: the next one is smaller, for longer.
        self._before: list[tuple[int, float]] = []

    @property
    def value(self) -> int:
        """The number that is shown."""
        return self._before[0][0] if self._before else self._now

    def raise_by(self, more: int) -> None:
        """Raises it at once."""
        self._now += more
        self._drop_smaller(self._now)

    def lower_by(self, less: int) -> None:
        """Lowers it at once, and all that is held as well."""
        self._now -= less
        self._before = [(value - less, until) for value, until in self._before]

    def fall_by(self, less: int, until: float) -> None:
        """Lowers it when the time has come, which is never sooner than that of an earlier fall."""
        self._drop_smaller(self._now)
        if len(self._before) == _MOST_STEPS:
            self._before[-1] = self._before[-1][0], until
        else:
            self._before.append((self._now, until))
        self._now -= less

    def expire(self, now: float) -> None:
        """Forgets what was held until now."""
        while self._before and self._before[0][1] <= now:
            del self._before[0]

    def _drop_smaller(self, value: int) -> None:
        while self._before and self._before[-1][0] <= value:
            self._before.pop()


class Crowd(Generic[Source]):
    """The users of one room."""

    __slots__ = ("_leaving", "_named", "_others", "_reports")

    def __init__(self) -> None:
        self._reports: dict[Source, Report] = {}
        # How many sources name each user.
        self._named: dict[str, int] = {}
        # The users that nobody names any more, and until when each is here; the first one first.
        self._leaving: dict[str, float] = {}
        self._others = HeldCount()

    def __bool__(self) -> bool:
        """Whether anything is known, or may be told soon."""
        return bool(self._reports or self._leaving or self._others.value)

    def __contains__(self, user_id: str) -> bool:
        return user_id in self._named or user_id in self._leaving

    def __iter__(self) -> Iterator[str]:
        """All users that are named, in no order."""
        yield from self._named
        yield from self._leaving

    @property
    def named(self) -> int:
        """How many users are named."""
        return len(self._named) + len(self._leaving)

    @property
    def others(self) -> int:
        """How many there are beside them."""
        return self._others.value

    def names_of(self, source: Source) -> Mapping[str, None]:
        """Returns the users that a source names."""
        return self._reports.get(source, _NOTHING).names

    def add(self, source: Source, user_id: str) -> None:
        """Adds a user that a source names, beside those that it names already."""
        names, _ = self._reports.setdefault(source, Report({}, 0))
        if user_id not in names:
            names[user_id] = None
            self._name(user_id)

    def put(self, source: Source, report: Report, until: float | None) -> bool:
        """Replaces what a source told before.

        Args:
            source: the source.
            report: what it tells now.
            until: how long those that have gone are here, never less than before; `None` if
                they are not.

        Returns:
            Whether something ends then.
        """
        before = self._reports.pop(source, _NOTHING)
        if report.names or report.others:
            self._reports[source] = report
        came = [user_id for user_id in report.names if user_id not in before.names]
        gone = [user_id for user_id in before.names if user_id not in report.names]
        for user_id in came:
            self._name(user_id)
        # Where a source does not name all, one that it no longer names may be among the rest.
        names_until = None if report.others else until
        ends = False
        for user_id in gone:
            ends |= self._unname(user_id, names_until)
        more = report.others - before.others
        if more >= 0:
            self._others.raise_by(more)
            return ends
        return self._fewer_others(-more, len(came), until) or ends

    def drop(self, source: Source, until: float | None) -> bool:
        """Forgets a source; see `put`."""
        return self.put(source, _NOTHING, until)

    def expire(self, now: float) -> None:
        """Lets those go whose time has come."""
        while self._leaving and next(iter(self._leaving.values())) <= now:
            del self._leaving[next(iter(self._leaving))]
        self._others.expire(now)

    def _name(self, user_id: str) -> None:
        self._named[user_id] = self._named.get(user_id, 0) + 1
        self._leaving.pop(user_id, None)

    def _unname(self, user_id: str, until: float | None) -> bool:
        sources = self._named[user_id] - 1
        if sources:
            self._named[user_id] = sources
            return False
        del self._named[user_id]
        if until is None:
            return False
        self._leaving[user_id] = until
        return True

    def _fewer_others(self, less: int, named: int, until: float | None) -> bool:
        named = less if until is None else min(less, named)
        self._others.lower_by(named)
        if until is None or named == less:
            return False
        self._others.fall_by(less - named, until)
        return True
