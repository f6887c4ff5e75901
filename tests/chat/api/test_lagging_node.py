"""A node that has not heard yet of what another node has stored."""

from collections.abc import Sequence

import pytest

import chat
from chat.access.authenticator import Authenticator
from chat.api.context import Context
from chat.core.hub import Hub
from chat.storage.base import StoreError
from chat.storage.listener import Listener
from chat.storage.memory import MemoryStore
from gen.chat import ChatMessage, ChatServiceStub, ErrorCode
from tests.chat.served import served
from tests.support import ChatCall, message, seqs


class LaggingStore(MemoryStore):
    """A store that tells of messages when it is made to catch up, and not before.

    Attributes:
        away: whether the database cannot be reached.
    """

    def __init__(self, listener: Listener) -> None:
        super().__init__(Listener(self._keep))
        self._tell = listener.announce
        self._kept: list[ChatMessage] = []
        self.away = False

    def _keep(self, messages: Sequence[ChatMessage]) -> None:
        self._kept += messages

    async def catch_up(self, room_id: str) -> None:  # noqa: ARG002 - of all rooms
        if self.away:
            raise StoreError("the database is away")
        kept, self._kept = self._kept, []
        self._tell(kept)


@pytest.fixture
async def lagging() -> tuple[Context, LaggingStore]:
    stores: list[LaggingStore] = []

    async def open_store(listener: Listener) -> LaggingStore:
        stores.append(LaggingStore(listener))
        return stores[0]

    config = chat.Config(database=chat.IN_MEMORY)
    return Context.of(config, Authenticator(), await Hub.open(open_store)), stores[0]


async def test_client_that_is_ahead_is_caught_up_with(
    lagging: tuple[Context, LaggingStore],
) -> None:
    """It comes from a node that had heard of more, and loses nothing."""
    context, store = lagging
    async with (
        served(context) as channel,
        ChatCall(ChatServiceStub(channel)) as member,
        ChatCall(ChatServiceStub(channel)) as comer,
    ):
        await member.enter("room")
        await store.append([message(key=key) for key in "123"])
        comer.join("room", after_seq=2, epoch=store.epoch)
        joined = (await comer.receive()).joined
        assert (joined.last_seq, joined.recovered) == (3, True)
        assert seqs(await comer.hear_many(1)) == [3]
        assert seqs(await member.hear_many(3)) == [1, 2, 3]

        comer.join("room", after_seq=4, epoch=store.epoch)
        joined = (await comer.receive()).joined
        assert (joined.last_seq, joined.recovered) == (3, False)


async def test_join_ahead_of_a_node_that_cannot_look_may_be_tried_again(
    lagging: tuple[Context, LaggingStore],
) -> None:
    context, store = lagging
    async with (
        served(context) as channel,
        ChatCall(ChatServiceStub(channel)) as member,
        ChatCall(ChatServiceStub(channel)) as comer,
    ):
        await member.enter("room")
        await store.append([message(key="1")])
        store.away = True
        comer.join("room", after_seq=1)
        error = (await comer.receive()).error
        assert (error.code, error.retryable) == (ErrorCode.UNAVAILABLE, True)
        store.away = False
        comer.join("room", after_seq=1)
        assert (await comer.receive()).joined.recovered
