"""What is on its way to streams: encoded once for each kind of them."""

from __future__ import annotations

from typing import Final

import codec
from codec.writing import tagged
from gen.chat import (
    ChatMessage,
    ChatStream,
    Mark,
    Reads,
    RelayEvent,
    RelayResponse,
    RoomChanges,
    RoomPresence,
    ToUser,
    Typists,
    Wanted,
)

_LENGTH_DELIMITED: Final = 2
# Fields of `RelayResponse` and `RelayEvent`.
_EVENTS: Final = 1 << 3 | _LENGTH_DELIMITED
_CHAT_MESSAGE: Final = 2 << 3 | _LENGTH_DELIMITED


def batch_of(event: bytes) -> bytes:
    """Returns a batch of one for `Relay`, of an encoded `RelayEvent`."""
    return _field(_EVENTS, event)


class EncodedMessage:
    """A stored message."""

    __slots__ = ("_for_client", "_for_proxy", "message")

    def __init__(self, message: ChatMessage) -> None:
        self.message = message
        self._for_client: bytes | None = None
        self._for_proxy: bytes | None = None

    def for_client(self) -> bytes:
        """As a message of `Chat`."""
        if self._for_client is None:
            self._for_client = codec.encode(ChatStream(chat_message=self.message))
        return self._for_client

    def for_proxy(self) -> bytes:
        """As a batch of one for `Relay`; batches may be concatenated."""
        if self._for_proxy is None:
            # Without an object for the event, and one for the response: half the time.
            event = _field(_CHAT_MESSAGE, codec.encode(self.message))
            self._for_proxy = _field(_EVENTS, event)
        return self._for_proxy


class Notice:
    """What is told of a room beside its messages, to those who follow it.

    Args:
        to_client: as it is told on `Chat`; `None` if it is for proxies alone.
        to_proxy: as it is told on `Relay`.
    """

    __slots__ = ("_for_client", "_for_proxy", "_to_client", "_to_proxy")

    def __init__(self, to_client: ChatStream | None, to_proxy: RelayEvent) -> None:
        self._to_client = to_client
        self._to_proxy = to_proxy
        self._for_client: bytes | None = None
        self._for_proxy: bytes | None = None

    @classmethod
    def of_changes(cls, changes: RoomChanges) -> Notice:
        """Messages changed."""
        return cls(ChatStream(changes=changes), RelayEvent(changes=changes))

    @classmethod
    def of_reads(cls, reads: Reads) -> Notice:
        """Users have read."""
        return cls(ChatStream(reads=reads), RelayEvent(reads=reads))

    @classmethod
    def of_mark(cls, user_id: str, mark: Mark) -> Notice:
        """A user has read, perhaps on another device."""
        return cls(ChatStream(mark=mark), RelayEvent(to_user=ToUser(user_id, mark=mark)))

    @classmethod
    def of_typists(cls, typists: Typists) -> Notice:
        """Who types."""
        return cls(ChatStream(typists=typists), RelayEvent(typists=typists))

    @classmethod
    def of_presence(cls, presence: RoomPresence) -> Notice:
        """Who is there."""
        return cls(ChatStream(room_presence=presence), RelayEvent(room_presence=presence))

    @classmethod
    def of_wanted(cls, wanted: Wanted) -> Notice:
        """What a proxy is to tell."""
        return cls(None, RelayEvent(wanted=wanted))

    def for_client(self) -> bytes:
        """As a message of `Chat`."""
        if self._for_client is None:
            if self._to_client is None:
                raise AssertionError("only proxies are told of it")
            self._for_client = codec.encode(self._to_client)
        return self._for_client

    def for_proxy(self) -> bytes:
        """As a batch of one for `Relay`; batches may be concatenated."""
        if self._for_proxy is None:
            self._for_proxy = codec.encode(RelayResponse(events=[self._to_proxy]))
        return self._for_proxy


def _field(tag: int, encoded: bytes) -> bytes:
    return tagged(tag, len(encoded)) + encoded
