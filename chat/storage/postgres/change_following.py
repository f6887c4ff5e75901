"""What was announced of the changes of each followed room, and what has to be fetched: no I/O.

The second half of `following`, which has the messages. Changes of a room are told as spans that
chain. What was stored reaches this node in three ways, in any order and as often as it likes:

- a commit of its own (`store`), which is announced at once if it begins where the last span ended;
- a hint or a sweep that a room has come further (`hint`, `sweep`): only a reason to fetch;
- a fetch of the states behind what was announced (`take`, `bring`).

A fetch reads each message as it stands, with the number of its last change alone. So what was
read up to a number is a span, whatever is missing in between: messages in which it was overtaken
come with a later one. Of a room with many changes a fetch is **cut**: then a text may be left for
a later span, by which the number of *its* change was passed already. So texts are asked for
behind `told`, which moves on only with a fetch that was not cut.

A change is announced after its message. A span that has a message which is not announced yet
waits for it (`Following.reach`), and the room with it.

A number that went back, or a newest change that is on no message nor on the room itself, is
**lost** history.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Final, NamedTuple

from chat.storage.listener import Changed
from chat.storage.postgres.followed import Followed, Stay
from chat.storage.postgres.following import Following
from chat.storage.postgres.infos import newest_seq
from chat.storage.rooms import Altered, number_of, room_of, span_of
from gen.chat import RoomChanges

UNKNOWN: Final = -1
"""The position of a change whose message is not known."""


class ChangeMark(NamedTuple):
    """A change that was acknowledged or announced.

    Attributes:
        room_id, change: its number.
        seq: its message, 0 for the room itself; `UNKNOWN` if that is not known.
    """

    room_id: str
    change: int
    seq: int = UNKNOWN


class _Stay(Stay):
    """One stay in a room.

    Attributes:
        told: the number up to which all texts were announced.
        seq: what changed last of all that was announced here.
        span: what waits for its message.
    """

    __slots__ = ("seq", "span", "told")

    def __init__(self, announced: int | None = None) -> None:
        super().__init__(announced)
        self.told = announced or 0
        self.seq = UNKNOWN
        self.span: _Span | None = None

    @property
    def is_behind(self) -> bool:
        """Whether there is something to fetch."""
        if self.announced is None or self.span is not None:
            return False
        return max(self.hinted, self.sure) > self.announced or self.told < self.announced


class _Span(NamedTuple):
    """A span, and whether all that changed up to its end is in it."""

    changes: RoomChanges
    is_whole: bool

    @property
    def needs(self) -> int:
        """The position that has to be announced before."""
        return max((each.seq for each in self.changes.messages), default=0)


class ChangeFetch(NamedTuple):
    """Rooms whose changes are to be read. Made by `ChangeFollowing.take`.

    Attributes:
        positions: by room: what was announced, and up to what all texts are known.
    """

    positions: Mapping[str, tuple[int, int]]
    stays: Mapping[str, _Stay]
    known: Mapping[str, tuple[int, int]]


class ChangeFollowing(Followed[_Stay]):
    """The changes of the followed rooms of a node.

    Args:
        following: the messages of the same rooms.
        changed: is called with spans whose turn it is.
        lose: is called with rooms of which history is missing, and what was announced of each.
            Nothing more is announced of them until `renew`.
    """

    def __init__(
        self, following: Following, changed: Changed, lose: Callable[[Mapping[str, int]], None]
    ) -> None:
        super().__init__()
        self._following = following
        self._changed = changed
        self._lose = lose

    # Rooms.

    def positions(self) -> dict[str, int]:
        """Returns how far each room was announced."""
        return {
            room_id: stay.announced
            for room_id, stay in self._stays.items()
            if stay.announced is not None
        }

    def marks(self) -> list[ChangeMark]:
        """Returns how far each room was announced, where anything has changed."""
        return [
            ChangeMark(room_id, stay.announced, stay.seq)
            for room_id, stay in self._stays.items()
            if stay.announced
        ]

    def begin(self, room_id: str) -> None:
        """Begins a stay, whose head has to be read now; what is told meanwhile counts."""
        self.leave(room_id)
        self._stays[room_id] = _Stay()

    def open(self, room_id: str, change: int) -> None:
        """Takes the head of a room, read after `begin`.

        Nothing happens if it was left meanwhile, or begun anew by another history.
        """
        stay = self._stays.get(room_id)
        if stay is not None and stay.announced is None:
            stay.announced = stay.told = change
            stay.sure = max(stay.sure, change)
            self._queue(room_id, stay)

    # What is told.

    def store(self, spans: Iterable[RoomChanges]) -> None:
        """Takes what a commit of this node has changed; announces it, if it comes next."""
        ready: list[RoomChanges] = []
        for span in spans:
            stay = self._stays.get(span.room_id)
            if stay is None:
                continue
            stay.sure = max(stay.sure, span.last_change)
            is_next = stay.announced == stay.told == span.after_change and stay.span is None
            if is_next:
                self._take(span.room_id, stay, _Span(span, is_whole=True), ready)
            self._queue(span.room_id, stay)
        self._tell(ready)

    def sweep(self, before: Mapping[str, int], heads: Mapping[str, int]) -> None:
        """Takes numbers that were read.

        Args:
            before: what was announced of them before that, of this history.
            heads: what was read of any of these rooms.
        """
        lost = {}
        for room_id, change in heads.items():
            stay = self._stays.get(room_id)
            if stay is None or stay.announced is None:
                continue
            if change < before.get(room_id, 0) <= stay.announced:
                lost[room_id] = stay.announced
                continue
            stay.sure = max(change, stay.sure)
            self._queue(room_id, stay)
        if lost:
            self._lose(lost)

    # Fetches.

    def take(self, most: int) -> ChangeFetch:
        """Takes rooms that are behind, those first that wait the longest."""
        positions: dict[str, tuple[int, int]] = {}
        stays: dict[str, _Stay] = {}
        known: dict[str, tuple[int, int]] = {}
        for room_id in list(islice(self._behind, most)):
            del self._behind[room_id]
            stay = self._stays[room_id]
            if stay.announced is not None and stay.is_behind:
                positions[room_id] = stay.announced, stay.told
                stays[room_id] = stay
                known[room_id] = stay.hinted, stay.sure
        return ChangeFetch(positions, stays, known)

    def bring(
        self,
        fetch: ChangeFetch,
        heads: Mapping[str, int],
        changes: Mapping[str, Sequence[Altered]],
        cut: Iterable[str],
    ) -> None:
        """Announces what a fetch read.

        Args:
            fetch: from `take`.
            heads: by room: the number of its newest change.
            changes: by room, in order; behind what was announced.
            cut: its rooms that may have more.
        """
        ready: list[RoomChanges] = []
        lost = {}
        parts = set(cut)
        for room_id, stay in fetch.stays.items():
            if self._stays.get(room_id) is not stay or stay.announced is None:
                continue
            after, _ = fetch.positions[room_id]
            hinted, sure = fetch.known[room_id]
            found = changes.get(room_id, ())
            last = number_of(found[-1]) if found else after
            head = heads.get(room_id, 0)
            is_cut = room_id in parts
            least = max(after, min(sure, stay.sure))
            if head < least or (not is_cut and last < head) or last > head:
                lost[room_id] = stay.announced
                continue
            if not is_cut and stay.hinted == hinted:
                # All that was there came: what was hinted beyond it is not true.
                stay.hinted = min(hinted, head)
            stay.sure = max(stay.sure, head)
            # What a commit of this node brought meanwhile is known; else it goes on from there.
            if stay.announced == after and stay.span is None:
                whole = _Span(span_of(room_id, after, last, found), not is_cut)
                self._take(room_id, stay, whole, ready)
            self._queue(room_id, stay)
        self._tell(ready)
        if lost:
            self._lose(lost)

    def forget_heads(self) -> None:
        """Takes note that numbers which were read may never come to be; see `Following`."""
        for stay in self._stays.values():
            if stay.announced is not None and not stay.waiting:
                stay.sure = stay.announced if stay.span is None else stay.span.changes.last_change

    def retry(self, fetch: ChangeFetch) -> None:
        """Ends a fetch that failed: its rooms are still behind."""
        for room_id, stay in fetch.stays.items():
            if self._stays.get(room_id) is stay:
                self._queue(room_id, stay)

    # Another history.

    def renew(self, heads: Mapping[str, int]) -> None:
        """Begins anew at the heads of another history, of all followed rooms."""
        self._replace({room_id: _Stay(heads.get(room_id, 0)) for room_id in self._stays})

    def _take(self, room_id: str, stay: _Stay, span: _Span, ready: list[RoomChanges]) -> None:
        """Takes the span that comes next; it waits if one of its messages is not announced."""
        position = self._following.position(room_id)
        if position is not None and position >= span.needs:
            self._advance(stay, span, ready)
            return
        stay.span = span
        self._following.reach(room_id, span.needs, partial(self._arrived, room_id, stay))

    def _arrived(self, room_id: str, stay: _Stay) -> None:
        """A message was announced for which a span has waited; or the room was left."""
        span = stay.span
        position = self._following.position(room_id)
        if span is None or self._stays.get(room_id) is not stay:
            return
        stay.span = None
        if position is None or position < span.needs:
            self._queue(room_id, stay)
            return
        ready: list[RoomChanges] = []
        self._advance(stay, span, ready)
        self._queue(room_id, stay)
        self._tell(ready)

    def _advance(self, stay: _Stay, span: _Span, ready: list[RoomChanges]) -> None:
        stay.announced = span.changes.last_change
        stay.sure = max(stay.sure, stay.announced)
        if span.is_whole:
            stay.told = stay.announced
        if span.changes.messages or room_of(span.changes) is not None:
            stay.seq = newest_seq(span.changes)
            ready.append(span.changes)

    def _tell(self, ready: Sequence[RoomChanges]) -> None:
        if not ready:
            return
        self._changed(ready)
        self._reached(span.room_id for span in ready)
