"""A real chat server with injected defects for certain names."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

import betterproto
from grpclib.client import Channel
from grpclib.server import Stream

import chat
from chat.access.authenticator import Authenticator
from chat.access.identity import ALL_ROOMS, Identity, RoomPatterns
from chat.api.chat_service import ChatService
from chat.api.context import Context
from chat.api.relay import RelayConversation
from chat.api.relay_service import RelayService
from chat.core.hub import Hub
from chat.core.paces import Paces
from chat.core.stream import LiveStream
from chat.core.telling_presence import TellingPresence
from chat.core.telling_typists import TellingTypists
from chat.metrics import ServerMetrics
from chat.storage.base import Page, Range
from chat.storage.changes import Change, needs_reactors
from chat.storage.listener import Listener
from chat.storage.sqlite import SqliteStore
from gen.chat import (
    ChatMessage,
    ClientGone,
    RelayCommand,
    RelayRequest,
    RelayResponse,
    RoomPresence,
    Typists,
)
from hosting.faults import Faults
from tests.chat.served import served

POISON: Final = "poison"
"""A name or text whose handling fails."""

UNTIMELY: Final = "untimely"
"""A token whose expiry cannot be encoded."""

UNSAYABLE: Final = "unsayable"
"""A text that is stored, but can then no longer be encoded."""

UNPLACED: Final = "unplaced"
"""A text stored at a position that cannot be encoded."""

UNCOUNTABLE: Final = 666
"""A client whose end fails."""

_LONE: Final = "\ud800"


class Defect(Exception):
    """The injected exception."""

    def __init__(self) -> None:
        super().__init__("a secret of the server")


def _spoil(message: ChatMessage) -> None:
    if message.content == UNSAYABLE:
        message.content = _LONE


def _fail_at(name: str) -> None:
    if name == POISON:
        raise Defect


class BrokenRooms(RoomPatterns):
    """RoomPatterns that fail for one room."""

    def __contains__(self, room_id: str) -> bool:
        _fail_at(room_id)
        return super().__contains__(room_id)


class BrokenAuthenticator(Authenticator):
    """Accepts any token as its bearer's name; all have all rights."""

    def __init__(self) -> None:
        super().__init__()
        self.is_open = False

    def verify(self, token: str) -> Identity:
        _fail_at(token)
        end = 1e300 if token == UNTIMELY else time.time() + 3600
        return Identity(token, BrokenRooms("*"), ALL_ROOMS, expires_at=end)


class AdaAuthenticator(BrokenAuthenticator):
    """Takes every caller for ada, whatever the token."""

    def caller(self, authorization: Sequence[str]) -> Identity:  # noqa: ARG002 - of the base class
        return self.verify("ada")

    def verify(self, token: str) -> Identity:
        return replace(super().verify(token), subject="ada")


class BrokenStore(SqliteStore):
    """A store that fails for some names."""

    def append(self, messages: Sequence[ChatMessage]) -> Any:
        for message in messages:
            _fail_at(message.content)
        return super().append(messages)

    async def last_seq(self, room_id: str) -> int:
        _fail_at(room_id)
        return await super().last_seq(room_id)

    async def history(self, room_id: str, span: Range) -> Page:
        page = await super().history(room_id, span)
        for message in page.messages:
            _spoil(message)
        return page

    async def change(self, change: Change) -> ChatMessage:
        _fail_at(needs_reactors(change.request))
        return await super().change(change)

    async def change_all(self, changes: Sequence[Change]) -> Sequence[ChatMessage | Exception]:
        for change in changes:
            _fail_at(needs_reactors(change.request))
        return await super().change_all(changes)

    def set_active(self, user_id: str, active: bool) -> None:
        if active:
            _fail_at(user_id)
        super().set_active(user_id, active)


class BrokenTypists(TellingTypists):
    """Fails for one user of a proxy, and for each of a client."""

    def types(self, stream: LiveStream, room_id: str, user_id: str) -> None:  # noqa: ARG002
        raise Defect

    def told(self, link: LiveStream, typists: Typists) -> None:
        _fail_at(typists.user_ids[0])
        super().told(link, typists)


class BrokenPresence(TellingPresence):
    """Fails for one user of a proxy."""

    def told(self, link: LiveStream, presence: RoomPresence) -> None:
        _fail_at(presence.user_ids[0])
        super().told(link, presence)


class BrokenHub(Hub):
    """A hub that fails for some names."""

    def __init__(self, metrics: ServerMetrics, faults: Faults, paces: Paces | None = None) -> None:
        super().__init__(metrics, faults, paces)
        self.present = BrokenPresence(self.rooms, metrics, faults)
        self.typing = BrokenTypists(self.rooms, self.present.count, metrics, faults)

    def remove_member(self, stream: LiveStream, room_id: str) -> None:
        _fail_at(room_id)
        super().remove_member(stream, room_id)

    def announce(self, messages: Sequence[ChatMessage]) -> None:
        for message in messages:
            _spoil(message)
            if message.content == UNPLACED:
                message.seq = 1 << 40
        super().announce(messages)


class BrokenRelay(RelayService):
    """A relay that fails for one client."""

    async def _relay(self, stream: Stream[RelayRequest, RelayResponse]) -> None:
        context = self._context
        caller = (
            context.authenticate_proxy(stream)
            if context.authenticator.is_open
            else Identity("proxy")
        )
        await _BrokenConversation(context, caller).run(stream)


class _BrokenConversation(RelayConversation):
    async def _dispatch(self, command: RelayCommand, payload: object) -> None:
        if isinstance(payload, ClientGone) and command.client == UNCOUNTABLE:
            raise Defect
        await super()._dispatch(command, payload)


def kinds(message: type[betterproto.Message], group: str) -> set[str]:
    """The field names of a oneof in the schema."""
    schema: Any = message
    return {field.name for field in fields(schema) if field.metadata["betterproto"].group == group}


@asynccontextmanager
async def broken_server(
    folder: Path, authenticator: Authenticator | None = None
) -> AsyncIterator[tuple[Hub, Channel]]:
    """Runs the server; yields its hub and a channel to it."""
    config = chat.Config(database=str(folder / "chat.db"))

    async def open_store(listener: Listener) -> SqliteStore:
        return await BrokenStore.open(config.database, listener, config.write_queue_bytes)

    hub = await BrokenHub.open(open_store)
    context = Context.of(config, authenticator or Authenticator(), hub)
    async with served(context, [ChatService(context), BrokenRelay(context)]) as channel:
        yield hub, channel
