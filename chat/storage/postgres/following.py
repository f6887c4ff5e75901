"""What was announced of each followed room, and what has to be fetched: no I/O.

Other nodes write into the same rooms. What they stored reaches this node in four ways, in
any order and as often as it likes:

- the answer of an append, which brings this node's own messages, and what others stored
  behind what was announced (`store`);
- a hint that a room has a new head (`hint`): no message, only a reason to fetch;
- a sweep, which compares heads with what was announced (`sweep`): a lost hint costs seconds;
- a fetch of the rows of rooms that are behind (`take`, `bring`, `finish`).

Of each room it is known how far it was **announced**. A row at the next position is announced;
one at or below is known already; one further up is **held** until those between were fetched.
So each message is announced once, in order, without gaps, whatever came first.

A commit may be read by a fetch before its own answer comes. The row is then announced as the
very object that is **in flight** (its sender waits for that one), if its content is the same.
With another content, it is what another node stored first under the same id, and the
one in flight is a repeat of it.

In a room positions become visible in order, since its row is locked until the commit. A
position that is missing below one that can be read will never come: history was **lost**, or
somebody tampered with it. That is told, and nothing behind it is announced until `renew`.

Whatever was asked before a room was left, or before the history became another one, brings
nothing afterwards: each stay in a room is an object of its own, and `renew` begins a generation.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice

from chat.storage.listener import Announce
from chat.storage.postgres.followed import Followed
from chat.storage.postgres.stays import Fetch, InFlight, Mark, MessageStay, Sweep
from gen.chat import ChatMessage


class Following(Followed[MessageStay]):
    """The followed rooms of a node.

    Args:
        announce: is called with messages whose turn it is.
        lose: is called with rooms of which history is missing, and what was announced of
            each. Nothing more is announced of them until `renew`.

    Attributes:
        generation: how often the history became another one.
        found: how many messages a sweep found, of which no hint had told.
    """

    def __init__(self, announce: Announce, lose: Callable[[Mapping[str, int]], None]) -> None:
        super().__init__()
        self._announce = announce
        self._lose = lose
        self._flights: list[InFlight] = []
        self.generation = 0
        self.found = 0

    # Rooms.

    def __len__(self) -> int:
        return len(self._stays)

    def is_in(self, room_id: str, stay: MessageStay) -> bool:
        """Whether a stay has not ended."""
        return self._stays.get(room_id) is stay

    def positions(self, room_ids: Iterable[str]) -> dict[str, int]:
        """Returns how far those of some rooms that are followed were announced."""
        found = ((room_id, self.position(room_id)) for room_id in room_ids)
        return {room_id: seq for room_id, seq in found if seq is not None}

    def marks(self) -> list[Mark]:
        """Returns how far each followed room was announced."""
        return [
            Mark(room_id, stay.announced, *stay.last)
            for room_id, stay in self._stays.items()
            if stay.announced is not None
        ]

    def begin(self, room_id: str) -> MessageStay:
        """Begins a stay, whose head has to be read now; what is told meanwhile counts."""
        stay = self._stays[room_id] = MessageStay()
        return stay

    def open(self, room_id: str, stay: MessageStay, head: int) -> int:
        """Takes the head of a room, read after `begin`.

        Returns:
            From behind which position on it is announced. Not at all, if it was left meanwhile.
        """
        # What this node stored meanwhile is confirmed already: it counts as part of the past.
        position = max(head, stay.sure)
        if self._stays.get(room_id) is stay:
            stay.announced = stay.sure = position
            self._queue(room_id, stay)
        return position

    # Appends of this node.

    def send(self, messages: Sequence[ChatMessage]) -> InFlight:
        """Notes messages that are about to be stored by one append."""
        positions = self.positions({message.room_id for message in messages})
        flight = InFlight(messages, positions, self.generation)
        self._flights.append(flight)
        return flight

    def store(
        self, flight: InFlight, others: Sequence[ChatMessage], own: Sequence[ChatMessage]
    ) -> None:
        """Takes the answer of an append; announces what it brought.

        Args:
            flight: is over.
            others: what others stored, in rooms of `flight.positions`, behind those, in order.
            own: the objects that were stored, with their positions, in order.
        """
        ready: list[ChatMessage] = []
        if flight.generation == self.generation:
            if len(own) == len(flight.messages):
                # All of them were new: no row of others need be compared with them.
                self.drop(flight)
            self._learn(others, ready)
            self._learn(own, ready, is_own=True)
        else:
            # It may be of the history of before, too: what is true of it is fetched.
            self.hint({message.room_id: message.seq for message in own})
        self.drop(flight)
        self._tell(ready)

    def again(self, flight: InFlight) -> None:
        """Notes that an append, of which no answer came, is sent once more.

        What it did before counts: an object that was announced stays announced.
        """
        flight.positions = self.positions({message.room_id for message in flight.messages})
        flight.generation = self.generation

    def drop(self, flight: InFlight) -> None:
        """Takes note that an append is over, and what it did is not known."""
        if flight in self._flights:
            self._flights.remove(flight)

    def when_announced(self, messages: Iterable[ChatMessage], call: Callable[[], None]) -> None:
        """Calls back once stored messages were announced, at once if they were.

        Those of rooms that are not followed, or no longer, count as announced.
        """
        last: dict[str, int] = {}
        for message in messages:
            stay = self._stays.get(message.room_id)
            if stay is not None and message.seq in stay.held:
                last[message.room_id] = max(message.seq, last.get(message.room_id, 0))
        if not last:
            call()
            return
        missing = set(last)

        def arrived(room_id: str) -> None:
            missing.discard(room_id)
            if not missing:
                call()

        for room_id, seq in last.items():
            self._stays[room_id].waiting.append((seq, partial(arrived, room_id)))

    # Sweeps, fetches.

    def ask(self) -> Sweep:
        """Begins a look at all heads."""
        return Sweep(self.positions(self._stays), self.generation)

    def sweep(self, sweep: Sweep, heads: Mapping[str, int]) -> None:
        """Takes heads that were read after `ask`, of any of its rooms."""
        if sweep.generation != self.generation:
            return
        lost = {}
        for room_id, head in heads.items():
            stay = self._stays.get(room_id)
            if stay is None or stay.announced is None:
                continue
            if head < sweep.positions[room_id] <= stay.announced:
                lost[room_id] = stay.announced
            elif head > stay.announced:
                stay.sure, stay.swept = max(head, stay.sure), head
            self._queue(room_id, stay)
        if lost:
            self._lose(lost)

    def take(self, most: int, *, leave_flying: bool = False) -> Fetch:
        """Takes rooms that are behind, those first that wait the longest.

        Args:
            most: how many.
            leave_flying: whether a room is left for the next time, once, that an append under
                way is about: its answer brings what others stored.
        """
        stays = {}
        positions = {}
        for room_id, waited in list(islice(self._behind.items(), most)):
            if leave_flying and not waited and self._is_flying(room_id):
                self._behind[room_id] = True
                continue
            del self._behind[room_id]
            stay = self._stays[room_id]
            if stay.announced is not None and stay.is_behind:
                stays[room_id] = stay
                positions[room_id] = stay.announced
        return Fetch(stays, positions)

    def bring(self, fetch: Fetch, rows: Sequence[ChatMessage]) -> None:
        """Announces rows that a fetch read, in each room in order; it may be called again."""
        ready: list[ChatMessage] = []
        current = [row for row in rows if fetch.is_of(row.room_id, self._stays.get(row.room_id))]
        self.found += sum(map(self._is_found, current))
        fetch.brought.update(row.room_id for row in current)
        self._learn(current, ready)
        self._tell(ready)

    def finish(self, fetch: Fetch, cut: Collection[str]) -> None:
        """Ends a fetch, of which all rows were brought.

        Args:
            fetch: from `take`.
            cut: its rooms that may have more rows, which did not fit.
        """
        lost = {}
        for room_id, stay, hinted, sure in fetch.stays():
            if self._stays.get(room_id) is not stay or stay.announced is None:
                continue
            is_stuck = room_id in fetch.brought and stay.announced == fetch.positions[room_id]
            if stay.announced < min(sure, stay.sure) and (room_id not in cut or is_stuck):
                lost[room_id] = stay.announced
                continue
            if room_id not in cut and stay.hinted == hinted:
                # All that was there came: what was hinted beyond it is not true.
                stay.hinted = min(hinted, stay.announced)
            self._queue(room_id, stay)
        if lost:
            self._lose(lost)

    def forget_heads(self) -> None:
        """Takes note that heads which were read, and no rows behind them, may never come to be.

        A server that is killed shows commits, in its last moment, that no standby has. Nobody was
        told of them: if they are not on the next server, nothing is lost.
        """
        for stay in self._stays.values():
            # Whoever waits for such a head is not left waiting: a loss answers them all.
            if stay.announced is not None and not stay.waiting:
                stay.sure = max((stay.announced, *stay.held))
                stay.swept = min(stay.swept, stay.sure)

    def retry(self, fetch: Fetch) -> None:
        """Ends a fetch that failed: its rooms are still behind."""
        for room_id, stay, _, _ in fetch.stays():
            if self._stays.get(room_id) is stay:
                self._queue(room_id, stay)

    # Another history.

    def missing(self, heads: Collection[str]) -> list[str]:
        """Returns the followed rooms whose heads are still to be read before `renew`."""
        return [room_id for room_id in self._stays if room_id not in heads]

    def renew(self, heads: Mapping[str, int]) -> None:
        """Begins anew at the heads of another history.

        Args:
            heads: of all followed rooms, see `missing`.
        """
        self.generation += 1
        self._replace({room_id: MessageStay(heads[room_id]) for room_id in self._stays})

    def _is_found(self, row: ChatMessage) -> bool:
        stay = self._stays[row.room_id]
        return max(stay.hinted, stay.announced or 0) < row.seq <= stay.swept

    def _learn(
        self, rows: Iterable[ChatMessage], ready: list[ChatMessage], *, is_own: bool = False
    ) -> None:
        """Puts what is announced now into `ready`, and holds what is further up."""
        for row in rows:
            stay = self._stays.get(row.room_id)
            if stay is None:
                continue
            if row.seq > stay.sure:
                stay.sure = row.seq
            if stay.announced is None or row.seq <= stay.announced or row.seq in stay.held:
                continue
            message = row if is_own else self._claimed(row)
            if row.seq == stay.announced + 1:
                self._advance(stay, message, ready)
            else:
                stay.held[row.seq] = message
                self._queue(row.room_id, stay)

    def _advance(self, stay: MessageStay, message: ChatMessage, ready: list[ChatMessage]) -> None:
        ready.append(message)
        while stay.held and (following := stay.held.pop(message.seq + 1, None)):
            message = following
            ready.append(message)
        stay.announced = message.seq
        stay.last = (message.sender_id, message.id)

    def _claimed(self, row: ChatMessage) -> ChatMessage:
        for flight in self._flights:
            mine = flight.claim(row)
            if mine is not None:
                return mine
        return row

    def _is_flying(self, room_id: str) -> bool:
        return any(room_id in flight.positions for flight in self._flights)

    def _tell(self, ready: Sequence[ChatMessage]) -> None:
        if not ready:
            return
        self._announce(ready)
        self._reached({message.room_id for message in ready})
