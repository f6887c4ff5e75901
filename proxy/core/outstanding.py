"""The sends that are not confirmed yet: no I/O.

A send is confirmed when its message arrives, by its idempotency key, or when
the server answers it, by its reference. Until then its message is kept, to be sent
again when the link was lost.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from time import monotonic
from typing import Generic, TypeVar

from gen.chat import ChatMessage

Client = TypeVar("Client")

_Key = tuple[str, str, str]


class Unconfirmed(Generic[Client]):
    """One send.

    Args:
        ref: its reference, larger than any before.
        message: what is sent.
        client: who sends it.
        request_id: what comes back on the answer.
        size: the bytes that it is counted with.

    Attributes:
        key: the idempotency key of the message: its room, sender and id.
        came: when it was made, by the monotonic clock.
        held_since: when it first waited without a link, by the clock of the event loop.
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


class Outstanding(Generic[Client]):
    """All sends that are not confirmed, in the order in which they were made.

    Attributes:
        size: the bytes of all of them.
    """

    def __init__(self) -> None:
        self.size = 0
        self._by_ref: dict[int, Unconfirmed[Client]] = {}
        # Of each key the oldest; and those behind it, which are seldom any.
        self._by_key: dict[_Key, Unconfirmed[Client]] = {}
        # Taken from the front: a dict would look at all places that were left empty there.
        self._repeats: dict[_Key, OrderedDict[int, Unconfirmed[Client]]] = {}

    def __len__(self) -> int:
        return len(self._by_ref)

    def __iter__(self) -> Iterator[Unconfirmed[Client]]:
        return iter(tuple(self._by_ref.values()))

    def add(self, send: Unconfirmed[Client]) -> None:
        """Keeps a send until it is confirmed."""
        self._by_ref[send.ref] = send
        if self._by_key.setdefault(send.key, send) is not send:
            self._repeats.setdefault(send.key, OrderedDict())[send.ref] = send
        self.size += send.size

    def find(self, ref: int) -> Unconfirmed[Client] | None:
        """Returns the send of a reference, if it is not confirmed."""
        return self._by_ref.get(ref)

    def settle(self, message: ChatMessage) -> Unconfirmed[Client] | None:
        """Confirms the oldest send of a message that arrived.

        The same message sent again, by another client perhaps, stays: the server
        answers it by its reference.
        """
        if not self._by_ref:
            return None
        found = self._by_key.get((message.room_id, message.sender_id, message.id))
        return None if found is None else self.settle_ref(found.ref)

    def settle_ref(self, ref: int) -> Unconfirmed[Client] | None:
        """Confirms a send that the server answered; `None` if that was done before."""
        found = self._by_ref.pop(ref, None)
        if found is None:
            return None
        if self._repeats and found.key in self._repeats:
            self._forget_one_of_several(found)
        else:
            del self._by_key[found.key]
        self.size -= found.size
        return found

    def _forget_one_of_several(self, found: Unconfirmed[Client]) -> None:
        repeats = self._repeats[found.key]
        if self._by_key[found.key] is found:
            _, self._by_key[found.key] = repeats.popitem(last=False)
        else:
            del repeats[found.ref]
        if not repeats:
            del self._repeats[found.key]
