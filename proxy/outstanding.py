"""The sends that are not confirmed yet: no I/O.

A send is confirmed when its message arrives, by its idempotency key, or when
the server answers it, by its reference. Until then its message is kept, to be sent
again when the link was lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Generic, TypeVar

import codec
from gen.chat import ChatMessage

Client = TypeVar("Client")

_Key = tuple[str, str, str]


@dataclass(slots=True)
class Unconfirmed(Generic[Client]):
    """One send.

    Attributes:
        client: who sent it.
        request_id: what comes back on the answer.
        size: the bytes that it is counted with.
        message: what was sent.
        came: when, by the monotonic clock.
    """

    ref: int
    key: _Key
    client: Client
    request_id: str | None
    size: int
    message: ChatMessage
    came: float = field(default_factory=monotonic, compare=False)


class Outstanding(Generic[Client]):
    """All sends that are not confirmed, in the order in which they were made.

    Attributes:
        size: the bytes of all of them.
    """

    def __init__(self) -> None:
        self.size = 0
        self._by_ref: dict[int, Unconfirmed[Client]] = {}
        self._refs_by_key: dict[_Key, list[int]] = {}
        # The oldest first.
        self._refs_by_place: dict[tuple[Client, str], dict[int, None]] = {}

    def __len__(self) -> int:
        return len(self._by_ref)

    def __iter__(self) -> Iterator[Unconfirmed[Client]]:
        return iter(tuple(self._by_ref.values()))

    def add(
        self, ref: int, message: ChatMessage, client: Client, request_id: str | None, size: int
    ) -> None:
        """Keeps a send until it is confirmed.

        Args:
            ref: its reference, larger than any before.
            message: what is sent.
            client: who sends it.
            request_id: what comes back on the answer.
            size: the bytes that it is counted with.
        """
        key = _key(message)
        self._by_ref[ref] = Unconfirmed(ref, key, client, request_id, size, message)
        self._refs_by_key.setdefault(key, []).append(ref)
        self._refs_by_place.setdefault((client, key[0]), {})[ref] = None
        self.size += size

    def oldest(self, client: Client, room_id: str) -> int | None:
        """Finds a client's oldest send to a room.

        Returns:
            Its reference, if there is one.
        """
        return next(iter(self._refs_by_place.get((client, room_id), ())), None)

    def find(self, ref: int) -> Unconfirmed[Client] | None:
        """Returns the send of a reference, if it is not confirmed."""
        return self._by_ref.get(ref)

    def settle(self, message: ChatMessage) -> Unconfirmed[Client] | None:
        """Confirms the oldest send of a message that arrived.

        The same message sent again, by another client perhaps, stays: the server
        answers it by its reference.
        """
        refs = self._refs_by_key.get(_key(message))
        return self.settle_ref(refs[0]) if refs else None

    def settle_ref(self, ref: int) -> Unconfirmed[Client] | None:
        """Confirms a send that the server answered; `None` if that was done before."""
        found = self._by_ref.pop(ref, None)
        if found is None:
            return None
        refs = self._refs_by_key[found.key]
        refs.remove(ref)
        if not refs:
            del self._refs_by_key[found.key]
        place = found.client, found.key[0]
        del self._refs_by_place[place][ref]
        if not self._refs_by_place[place]:
            del self._refs_by_place[place]
        self.size -= found.size
        return found


def _key(message: ChatMessage) -> _Key:
    fields = codec.fields_of(message)
    return fields["room_id"], fields["sender_id"], fields["id"]
