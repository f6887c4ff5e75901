"""`GetChatHistory`: pages over a real connection."""

import pytest

import chat
from gen.chat import ChatServiceStub, GetChatHistoryRequest, GetChatHistoryResponse
from tests.support import ChatCall, message, refusal, seqs


@pytest.fixture
def chat_config() -> chat.Config:
    return chat.Config(host="127.0.0.1", port=0, database=chat.IN_MEMORY)


async def fill(stub: ChatServiceStub, number: int, content: str = "hello") -> None:
    async with ChatCall(stub) as call:
        for _ in range(number):
            call.say(message("room", content))
        await call.hear_many(number)


async def page(stub: ChatServiceStub, **asked: int) -> GetChatHistoryResponse:
    return await stub.get_chat_history(GetChatHistoryRequest("room", **asked))


async def test_page_limits(stub: ChatServiceStub) -> None:
    """0 stands for 50; more than 500 counts as 500."""
    await fill(stub, 501)
    for asked, given in ((0, 50), (1, 1), (500, 500), (501, 500), (2**31 - 1, 500)):
        history = await page(stub, limit=asked)
        assert seqs(history.messages) == list(range(502 - given, 502))
        assert history.has_more


async def test_paging_sees_each_message_once(stub: ChatServiceStub) -> None:
    empty = await page(stub)
    assert (empty.messages, empty.has_more) == ([], False)
    await fill(stub, 23)
    back: list[int] = []
    history = await page(stub, limit=5)
    while history.messages:
        back = seqs(history.messages) + back
        assert history.has_more == (back[0] > 1)
        history = await page(stub, limit=5, before_seq=back[0])
    forth: list[int] = []
    history = await page(stub, limit=5, after_seq=0)
    while history.messages:
        forth += seqs(history.messages)
        assert history.has_more == (forth[-1] < 23)
        history = await page(stub, limit=5, after_seq=forth[-1])
    assert back == forth == list(range(1, 24))
    history = await page(stub, limit=2, after_seq=1, before_seq=5)
    assert (seqs(history.messages), history.has_more) == ([2, 3], True)
    assert {m.content for m in history.messages} == {"hello"}


async def test_page_epoch_is_that_of_join(stub: ChatServiceStub) -> None:
    async with ChatCall(stub) as call:
        call.join("room")
        assert (await call.receive()).joined.epoch == (await page(stub)).epoch


async def test_page_of_large_messages_is_small(stub: ChatServiceStub) -> None:
    """Below the 4 MiB that gRPC clients accept by default, even as JSON with many escapes."""
    await fill(stub, 300, "😀" * 4096)
    history = await page(stub, limit=500)
    assert history.has_more
    assert 2**18 < len(bytes(history)) < 2**20
    assert seqs(history.messages)[-1] == 300


async def test_history_refusal_names_the_field(stub: ChatServiceStub) -> None:
    for request, text in (
        (GetChatHistoryRequest("room", limit=-1), "limit: must not be negative"),
        (GetChatHistoryRequest("room", limit=-(2**31)), "limit: must not be negative"),
        (GetChatHistoryRequest(""), "room_id: must not be empty"),
        (GetChatHistoryRequest("x" * 65), "room_id: must have at most 64 characters"),
        (GetChatHistoryRequest("\x85"), "room_id: must not contain control characters"),
    ):
        assert await refusal(stub.get_chat_history(request)) == f"INVALID_ARGUMENT: {text}"
