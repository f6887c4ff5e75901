"""gRPC's official client with the contract alone, while messages change around it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio  # type: ignore[import-untyped]  # comes without types
import pytest
from google.protobuf.unknown_fields import UnknownFieldSet

import chat
from gen.chat import (
    ChangeMessageRequest,
    ChatServiceStub,
    Delete,
    JoinFollow,
    MarkReadRequest,
    MessageExtra,
)
from tests.chat.api.grpcio import SERVICE, Conversation, compiled
from tests.support import PATIENCE_SECONDS, ChatCall, message

CONTRACT = Path(__file__).parents[2] / "node" / "contract.proto"


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The messages of the contract, by full name."""
    return compiled(CONTRACT, tmp_path_factory.mktemp("contract"))


@pytest.fixture
def chat_config() -> chat.Config:
    return chat.Config(host="127.0.0.1", port=0, database=chat.IN_MEMORY)


@pytest.fixture
async def old(
    chat_server: chat.RunningServer, contract: dict[str, Any]
) -> AsyncIterator[Conversation]:
    async with grpc.aio.insecure_channel(chat_server.address) as channel:
        yield Conversation(channel, contract["chat.ChatStream"])


async def change_all(stub: ChatServiceStub) -> None:
    """Lets happen to the first three messages of the room what may."""
    for seq, asked in enumerate(({"content": "better"}, {"delete": Delete()}, {"react": "x"}), 1):
        await stub.change_message(ChangeMessageRequest("room", seq, "ada", **asked))  # type: ignore[arg-type]  # by its name
    await stub.change_message(ChangeMessageRequest("room", 3, "ada", pinned=True))
    for user_id in ("ada", "eve"):
        await stub.mark_read(MarkReadRequest("room", 3, user_id))


def unknown(read: Any) -> set[int]:
    """The numbers of the fields that a message has and its reader does not know."""
    fields = UnknownFieldSet(read)
    return {fields[number].field_number for number in range(len(fields))}


async def test_stream_has_messages_alone(stub: ChatServiceStub, old: Conversation) -> None:
    await old.send(chat_message={"id": "1", "room_id": "room", "sender_id": "ada", "content": "1"})
    await old.receive()
    async with ChatCall(stub) as new:
        for number in (2, 3):
            await new.post(message(content=str(number)))
            await old.receive()
        follow = [JoinFollow.CHANGES, JoinFollow.READS]
        new.join("room", follow=follow, after_seq=3)
        assert (await new.receive()).joined.last_change == 0
        await change_all(stub)
        sent = message(content="a reply", key="4")
        sent.extra = MessageExtra(reply_to=1, mentions=["ada"])
        new.say(sent)
        # This one is told of each change: what is sent to the other comes behind them.
        while (await new.receive()).payload.__class__.__name__ != "ChatMessage":
            pass
        read = await old.call.read()
        assert (read.WhichOneof("payload"), unknown(read)) == ("chat_message", set())
        assert (read.chat_message.id, read.chat_message.content) == ("4", "a reply")
        assert unknown(read.chat_message) == {5, 6, 7}


async def test_history_has_current_texts(
    stub: ChatServiceStub, chat_server: chat.RunningServer, contract: dict[str, Any]
) -> None:
    async with ChatCall(stub) as call:
        for number in (1, 2, 3):
            await call.post(message(content=str(number), key=str(number)))
    await change_all(stub)
    request, response = (contract[f"chat.GetChatHistory{kind}"] for kind in ("Request", "Response"))
    async with grpc.aio.insecure_channel(chat_server.address) as channel:
        page = await channel.unary_unary(
            f"{SERVICE}/GetChatHistory",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )(request(room_id="room"), timeout=PATIENCE_SECONDS)
    assert [(each.id, each.sender_id, each.content) for each in page.messages] == [
        ("1", "ada", "better"),
        ("2", "ada", ""),
        ("3", "ada", "3"),
    ]
