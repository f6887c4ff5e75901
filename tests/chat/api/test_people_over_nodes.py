"""Who is there, who types and what rooms are called, at another server on the same database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final

import pytest

from chat.core.hub import Hub
from chat.core.paces import Paces
from chat.storage.listener import Listener
from chat.storage.postgres import PostgresStore
from gen.chat import (
    ChatServiceStub,
    ChatStream,
    JoinFollow,
    ListMembersRequest,
    ListRoomsRequest,
    Room,
    RoomChanges,
    RoomPresence,
    SetRoomRequest,
    Typing,
    Typists,
)
from tests.chat.in_memory import with_store
from tests.chat.served import served
from tests.chat.storage.postgres.nodes import be_patient
from tests.support import PATIENCE_SECONDS, ChatCall, eventually, message

ROOM: Final = "room"
CHANGES: Any = JoinFollow.CHANGES
TYPING: Any = JoinFollow.TYPING
PRESENCE: Any = JoinFollow.PRESENCE


class Server:
    """A server, and whether it has met another one, or lost it."""

    def __init__(self) -> None:
        self.met = asyncio.Event()
        self.lost = asyncio.Event()
        self.hub: Hub
        self.stub: ChatServiceStub

    def open_store(self, url: str, listener: Listener) -> Awaitable[PostgresStore]:
        def met(node: str) -> None:
            listener.met(node)
            self.met.set()

        def lost(node: str) -> None:
            listener.lost(node)
            self.lost.set()

        hearing = replace(listener, met=met, lost=lost)
        return PostgresStore.open(url, hearing, 1 << 20, sweep_seconds=3600)


@asynccontextmanager
async def server(url: str) -> AsyncIterator[Server]:
    one = Server()
    # Nobody ceases to type while the test goes on.
    paces = Paces(hold=PATIENCE_SECONDS)
    context, _ = await with_store(partial(one.open_store, url), paces)
    one.hub = context.hub
    async with served(context) as channel:
        one.stub = ChatServiceStub(channel)
        yield one


async def test_clients_of_two_servers_see_each_other(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_patient(monkeypatch)
    async with server(postgres_url) as here:
        async with server(postgres_url) as there:
            await asyncio.gather(here.met.wait(), there.met.wait())
            async with ChatCall(there.stub) as ben, ChatCall(here.stub) as ada:
                await ben.enter(ROOM, user_id="ben", follow=[CHANGES])
                await eventually(lambda: here.hub.present.count(ROOM) == 1)
                await ada.enter(ROOM, user_id="ada", follow=[CHANGES, TYPING, PRESENCE])
                assert (await ada.receive()).room_presence == RoomPresence(ROOM, 2, ["ada", "ben"])
                ben.put(ChatStream(typing=Typing(ROOM, "ben")))
                told = (await ada.receive()).typists
                assert told == Typists(ROOM, ["ben"], 0, told.hold_ms)
                assert told.hold_ms
                await ben.post(message(ROOM, sender_id="ben"))
                assert (await ada.hear()).seq == 1
                known = Room(ROOM, "Title", "Topic", 1)
                assert (await there.stub.set_room(SetRoomRequest(known))).room == known
                for each in (ada, ben):
                    assert (await each.receive()).changes == RoomChanges(ROOM, 0, 1, room=known)
                [row] = (await here.stub.list_rooms(ListRoomsRequest(query="TITLE"))).rooms
                assert (row.room, row.present, row.last_seq) == (known, 2, 1)
                members = await here.stub.list_members(ListMembersRequest(ROOM, present=True))
                assert [each.user_id for each in members.members] == ["ada", "ben"]
        async with asyncio.timeout(PATIENCE_SECONDS):
            await here.lost.wait()
