"""Messages of clients that the server has not confirmed yet: no I/O.

A send is confirmed when its message arrives, by its idempotency key, or when the server
answers it, by its ref. Until then its message is kept, to be sent again on the next
link.

===============  ==============================  ====================================
the server is    more than half of the bound     more than the bound
===============  ==============================  ====================================
there            `wait_writable` waits: senders  `check` refuses
                 are held back
away             nobody waits                    `check` refuses
away for longer  nothing is held: `check` refuses everything, all held sends are given
than it may      up
===============  ==============================  ====================================

A send is held for `Config.hold_seconds` in all, over however many links.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator
from time import monotonic

from gen.chat import ChatMessage
from proxy import errors
from proxy.config import Config
from proxy.core.client import Client
from proxy.errors import Refused

_Key = tuple[str, str, str]


class UnconfirmedSend:
    """One send.

    Args:
        ref: its ref, larger than any before.
        message: the message.
        client: its sender.
        request_id: the client's own id, which comes back on the answer.
        size: the bytes that it is counted with.

    Attributes:
        key: the idempotency key of the message: its room, sender and id.
        came: the time at which it was made, by the monotonic clock.
        held_since: the time at which it first waited without a link, by the event loop's clock.
    """

    __slots__ = ("came", "client", "held_since", "key", "message", "ref", "request_id", "size")

    def __init__(
        self, ref: int, message: ChatMessage, client: Client, request_id: str | None, size: int
    ) -> None:
        self.ref = ref
        self.message = message
        self.client = client
        self.request_id = request_id
        self.size = size
        self.key: _Key = (message.room_id, message.sender_id, message.id)
        self.came = monotonic()
        self.held_since: float | None = None


class UnconfirmedSends:
    """All sends that are not confirmed, in the order in which they were made.

    Args:
        give_up: called with each send that was held for too long.

    Attributes:
        size: the bytes of all of them.
        linked: whether the server is there.
    """

    def __init__(self, config: Config, give_up: Callable[[UnconfirmedSend], None]) -> None:
        self._give_up = give_up
        self._hold_seconds = config.hold_seconds
        self._most_bytes = config.hold_bytes
        # From here on senders wait.
        self._busy_bytes = config.hold_bytes // 2
        self.size = 0
        self._by_ref: dict[int, UnconfirmedSend] = {}
        # The oldest of each key; the others of a key, which are seldom any, are in `_repeats`.
        self._by_key: dict[_Key, UnconfirmedSend] = {}
        # Taken from the front: a dict would look at all slots that were left empty there.
        self._repeats: dict[_Key, OrderedDict[int, UnconfirmedSend]] = {}
        self._writable = asyncio.Event()
        self._writable.set()
        # Ends when nothing is left; exists while somebody waits for that.
        self._all_confirmed: asyncio.Future[None] | None = None
        self.linked = False
        self._holding = True
        # When the server has been away for too long, and when the oldest held send has.
        self._deadline: asyncio.TimerHandle | None = None
        self._overdue: asyncio.TimerHandle | None = None
        self._start_hold()

    def __len__(self) -> int:
        return len(self._by_ref)

    def __iter__(self) -> Iterator[UnconfirmedSend]:
        return iter(tuple(self._by_ref.values()))

    # Senders.

    @property
    def is_writable(self) -> bool:
        """Whether `wait_writable` would return at once."""
        return self._writable.is_set()

    async def wait_writable(self) -> None:
        """Waits while the server is slow to confirm: backpressure for senders.

        It does not wait while the server is away: `check` refuses, past the bound.
        """
        # Another waiter may have refilled the bound; check again.
        while not self._writable.is_set():
            await self._writable.wait()

    def check(self) -> None:
        """Checks that one more send may be held.

        Raises:
            Refused: the bound is reached, or the server has been away for too long.
        """
        if not self._holding or self.size > self._most_bytes:
            raise Refused(errors.unavailable())

    def add(self, send: UnconfirmedSend) -> None:
        """Keeps a send until it is confirmed."""
        if not self.linked:
            send.held_since = asyncio.get_running_loop().time()
        self._by_ref[send.ref] = send
        if self._by_key.setdefault(send.key, send) is not send:
            self._repeats.setdefault(send.key, OrderedDict())[send.ref] = send
        self.size += send.size
        if self.size > self._busy_bytes:
            self._note_busy()

    # Confirmations. After one or several of them, `wake_waiters` is to be called.

    def find(self, ref: int) -> UnconfirmedSend | None:
        """Returns the send of a ref, if it is not confirmed."""
        return self._by_ref.get(ref)

    def confirm(self, ref: int) -> UnconfirmedSend | None:
        """Confirms the send that the server answered; `None` if that was done before."""
        found = self._by_ref.pop(ref, None)
        if found is None:
            return None
        if self._repeats and found.key in self._repeats:
            self._forget_one_of_several(found)
        else:
            del self._by_key[found.key]
        self.size -= found.size
        return found

    def confirm_message(self, message: ChatMessage) -> UnconfirmedSend | None:
        """Confirms the oldest send of a message that arrived, if there is one.

        The same message sent again, by another client perhaps, stays: the server answers it
        by its ref.
        """
        if not self._by_ref:
            return None
        found = self._by_key.get((message.room_id, message.sender_id, message.id))
        return None if found is None else self.confirm(found.ref)

    def wake_waiters(self) -> None:
        """Wakes senders if there is room for them, and a stop if nothing is left."""
        if not self._writable.is_set() and self.size <= self._busy_bytes:
            self._writable.set()
        if self._all_confirmed is not None and not self._by_ref:
            self._all_confirmed.set_result(None)
            self._all_confirmed = None

    async def wait_all_confirmed(self, timeout: float) -> bool:
        """Waits until nothing is left.

        Args:
            timeout: the longest wait, in seconds.

        Returns:
            Whether nothing is left.
        """
        if not self._by_ref:
            return True
        if self._all_confirmed is None:
            self._all_confirmed = asyncio.get_running_loop().create_future()
        await asyncio.wait({self._all_confirmed}, timeout=timeout)
        return not self._by_ref

    # The link.

    def connected(self) -> None:
        """Notes that the server is there."""
        self.linked = self._holding = True
        self._note_busy()
        for timer in (self._deadline, self._overdue):
            if timer is not None:
                timer.cancel()
        self._deadline = self._overdue = None

    def disconnected(self) -> None:
        """Notes that the server is away: sends are held until it is back."""
        self.linked = False
        self._writable.set()
        now = asyncio.get_running_loop().time()
        for send in self._by_ref.values():
            if send.held_since is None:
                send.held_since = now
        self._start_hold()
        self._give_up_overdue()

    def _start_hold(self) -> None:
        if self._deadline is None:
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(self._hold_seconds, self._stop_hold)

    def _stop_hold(self) -> None:
        """Gives up all that was held, and holds no more: the server stays away."""
        self._holding = False
        for send in self:
            self.confirm(send.ref)
            self._give_up(send)
        self.wake_waiters()

    def _give_up_overdue(self) -> None:
        """Gives up what has been held for too long; the oldest come first."""
        loop = asyncio.get_running_loop()
        self._overdue = None
        for send in self:
            end = (send.held_since or 0.0) + self._hold_seconds
            if end > loop.time():
                self._overdue = loop.call_at(end, self._give_up_overdue)
                break
            self.confirm(send.ref)
            self._give_up(send)
        self.wake_waiters()

    def _note_busy(self) -> None:
        if self.linked and self.size > self._busy_bytes:
            self._writable.clear()

    def _forget_one_of_several(self, found: UnconfirmedSend) -> None:
        repeats = self._repeats[found.key]
        if self._by_key[found.key] is found:
            _, self._by_key[found.key] = repeats.popitem(last=False)
        else:
            del repeats[found.ref]
        if not repeats:
            del self._repeats[found.key]
