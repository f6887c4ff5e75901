"""A database damaged where messages and users are kept."""

from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest
from structlog.testing import capture_logs

import chat
from gen.chat import (
    ChatServiceStub,
    Error,
    ErrorCode,
    GetChatHistoryRequest,
    GetUserRequest,
)
from tests.support import ChatCall, channel_to, message, refusal, told


def damage(path: Path, table: str) -> None:
    """Overwrites the first page of a table."""
    connection = apsw.Connection(str(path))
    size = connection.pragma("page_size")
    root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).get
    connection.close()
    assert isinstance(size, int)
    assert isinstance(root, int)
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)


@pytest.fixture
async def stub(chat_config: chat.Config) -> AsyncIterator[ChatServiceStub]:
    async with (
        chat.serve(chat_config) as server,
        channel_to(server) as channel,
        ChatCall(ChatServiceStub(channel)) as call,
    ):
        await call.post(message())
    for table in ("messages", "users"):
        damage(Path(chat_config.database), table)
    async with chat.serve(chat_config) as server, channel_to(server) as channel:
        yield ChatServiceStub(channel)


def unavailable(text: str) -> Error:
    return Error(code=ErrorCode(ErrorCode.UNAVAILABLE), message=text, retryable=True)


async def test_damage_refuses_joins_and_sends(stub: ChatServiceStub) -> None:
    async with ChatCall(stub) as call:
        with capture_logs() as logs:
            for _ in range(2):
                call.join("room", after_seq=0)
                refused = (await call.receive()).error
                assert refused == unavailable("the history could not be read")
                call.say(message())
                refused = (await call.receive()).error
                assert refused == unavailable("the history could not be read")
        assert {line["event"] for line in told(logs)} == {"head unreadable"}
        call.leave("room")
        assert (await call.receive()).left.room_id == "room"


async def test_damage_refuses_reads(stub: ChatServiceStub) -> None:
    with capture_logs() as logs:
        for reading in (
            stub.get_chat_history(GetChatHistoryRequest("room")),
            stub.get_user(GetUserRequest("ada")),
        ):
            assert await refusal(reading) == "UNAVAILABLE: the store could not be read"
    assert [line["event"] for line in told(logs)] == ["store unreadable"] * 2
