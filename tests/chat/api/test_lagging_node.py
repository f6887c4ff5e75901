"""A node that has not heard yet of what another node has stored."""

from collections.abc import AsyncIterator, Sequence

import pytest
from grpclib.client import Channel

from chat.api.context import Context
from chat.storage.base import StoreError
from chat.storage.listener import Listener
from chat.storage.memory import MemoryStore
from gen.chat import ChatMessage, ErrorCode
from tests.chat.in_memory import with_store
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
async def server() -> tuple[Context, LaggingStore]:
    return await with_store(LaggingStore)


@pytest.fixture
def store(server: tuple[Context, LaggingStore]) -> LaggingStore:
    return server[1]


@pytest.fixture
async def channel(server: tuple[Context, LaggingStore]) -> AsyncIterator[Channel]:
    async with served(server[0]) as channel:
        yield channel


async def test_client_that_is_ahead_is_caught_up_with(
    store: LaggingStore, ada: ChatCall, bob: ChatCall
) -> None:
    """It comes from a node that had heard of more, and loses nothing."""
    await ada.enter("room")
    await store.append([message(key=key) for key in "123"])
    bob.join("room", after_seq=2, epoch=store.epoch)
    joined = (await bob.receive()).joined
    assert (joined.last_seq, joined.recovered) == (3, True)
    assert seqs(await bob.hear_many(1)) == [3]
    assert seqs(await ada.hear_many(3)) == [1, 2, 3]

    bob.join("room", after_seq=4, epoch=store.epoch)
    joined = (await bob.receive()).joined
    assert (joined.last_seq, joined.recovered) == (3, False)


async def test_join_ahead_of_a_node_that_cannot_look_may_be_tried_again(
    store: LaggingStore, ada: ChatCall, bob: ChatCall
) -> None:
    await ada.enter("room")
    await store.append([message(key="1")])
    store.away = True
    bob.join("room", after_seq=1)
    error = (await bob.receive()).error
    assert (error.code, error.retryable) == (ErrorCode.UNAVAILABLE, True)
    store.away = False
    bob.join("room", after_seq=1)
    assert (await bob.receive()).joined.recovered
