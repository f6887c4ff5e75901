"""Ids refused for new users and rooms, at every entry, and kept in an older file."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from grpclib import GRPCError
from hypothesis import example, given, settings
from hypothesis import strategies as st

import chat
import proxy
from gen.chat import (
    ChatMessage,
    ChatServiceStub,
    GetChatHistoryRequest,
    GetUserRequest,
    ListUsersRequest,
    UpsertUserRequest,
)
from tests.chat.storage.files import opened
from tests.proxy.web_client import Connect, serve_http
from tests.proxy.web_client import connect as connect_to
from tests.support import ANY_NUMBER, NO_RATES, SHARING, ChatCall, channel_to, message

OLD_ROOM = "lobby "
OLD_USER = "ad\u200ba"
# Accepted by an older version: one of each kind.
OLD = [("cafe\u0301", "bob\u00a0"), (OLD_ROOM, OLD_USER), ("a  b", "e\u0301ve"), ("\u202ex", " ")]
NEW = ["lobby  ", "ada\u200b", "cafe\u0301s", "\u2066x"]


@pytest.fixture
async def chat_server(chat_config: chat.Config) -> AsyncIterator[chat.RunningServer]:
    """A server on a file with such ids."""
    async with opened(Path(chat_config.database)) as store:
        for room_id, sender_id in OLD:
            await store.append([message(room_id, "old", sender_id=sender_id, key="1")])
    async with chat.serve(chat_config) as server:
        yield server


@pytest.mark.parametrize(("room_id", "sender_id"), OLD)
async def test_known_id_stays_in_use(stub: ChatServiceStub, room_id: str, sender_id: str) -> None:
    user = (await stub.get_user(GetUserRequest(sender_id))).user
    assert (user.id, user.name) == (sender_id, sender_id)
    [old] = (await stub.get_chat_history(GetChatHistoryRequest(room_id))).messages
    assert (old.room_id, old.sender_id, old.content) == (room_id, sender_id, "old")
    async with ChatCall(stub) as call:
        assert await call.enter(room_id) == 1
        for number in (2, 3):
            sent = await call.post(message(room_id, "new", sender_id=sender_id))
            assert (sent.room_id, sent.sender_id, sent.seq) == (room_id, sender_id, number)
    # Its name, which is the id, stays; a new name must be valid.
    asked = UpsertUserRequest(sender_id, sender_id, "ada@example.com")
    assert (await stub.upsert_user(asked)).user.email == "ada@example.com"
    assert (await stub.upsert_user(UpsertUserRequest(sender_id, "Ada", ""))).user.name == "Ada"


async def test_known_id_stays_in_use_over_proxy(connect: Connect) -> None:
    client = await connect()
    for room_id, sender_id in OLD:
        joined = await client.ask(join={"room_id": room_id, "after_seq": 0})
        assert joined["joined"]["last_seq"] == 1
        assert (await client.receive())["chat_message"]["content"] == "old"
        said = {"room_id": room_id, "sender_id": sender_id, "content": "new"}
        frames = [await client.ask(chat_message=said) for _ in range(2)]
        assert [frame["chat_message"]["seq"] for frame in frames] == [2, 3]


@pytest.mark.parametrize("strange", NEW)
async def test_new_id_is_refused_over_grpc(stub: ChatServiceStub, strange: str) -> None:
    async with ChatCall(stub) as call:
        for field, asked in (
            ("chat_message.room_id", message(strange)),
            ("chat_message.sender_id", message(sender_id=strange)),
            ("chat_message.room_id", message(strange, sender_id=OLD_USER)),
            ("chat_message.sender_id", message(OLD_ROOM, sender_id=strange)),
        ):
            call.say(asked)
            assert (await call.receive()).error.message.startswith(f"{field}: must ")
        call.join(strange)
        assert (await call.receive()).error.message.startswith("join.room_id: must ")
    with pytest.raises(GRPCError, match="user_id: must "):
        await stub.upsert_user(UpsertUserRequest(strange, "Ada", ""))
    # A read finds nothing.
    assert (await stub.get_chat_history(GetChatHistoryRequest(strange))).messages == []
    with pytest.raises(GRPCError, match="there is no user"):
        await stub.get_user(GetUserRequest(strange))
    users = (await stub.list_users(ListUsersRequest())).users
    assert strange not in {user.id for user in users}


@pytest.mark.parametrize("strange", NEW)
async def test_new_id_is_refused_by_the_proxy(connect: Connect, strange: str) -> None:
    """A refused message holds back none beside it."""
    client = await connect()
    said: dict[str, Any] = {"room_id": "lobby", "sender_id": "ada", "content": "x"}
    for field in ("room_id", "sender_id"):
        await client.send(chat_message={**said, "id": f"a{field}"}, request_id="before")
        await client.send(chat_message={**said, field: strange}, request_id="wrong")
        await client.send(chat_message={**said, "id": f"b{field}"}, request_id="after")
        answers: dict[str, Any] = {}
        while len(answers) < 3:
            frame = await client.receive()
            answers[frame["request_id"]] = frame
        assert answers["wrong"]["error"]["code"] == "INVALID_ARGUMENT"
        assert answers["wrong"]["error"]["message"].startswith(f"chat_message.{field}: must ")
        assert "chat_message" in answers["before"]
        assert "chat_message" in answers["after"]
    answer = await client.ask(join={"room_id": strange})
    assert answer["error"]["message"].startswith("join.room_id: must ")
    asked = {"user_id": "ada", "name": f" {strange}"}
    answer = await client.ask(upsert_user=asked)
    assert answer["error"]["message"] == "upsert_user.name: must not begin or end with a space"


TEXTS = st.text(
    st.characters(codec="utf-8")
    | st.sampled_from("a \u200b\u200c\u200d\ufe0f\u00a0\u0301é\u2800❤👩\u094dक\u064aگ\n\u202e"),
    min_size=1,
    max_size=20,
)


FIELDS = (
    "chat_message.id",
    "chat_message.room_id",
    "chat_message.sender_id",
    "chat_message.content",
)


@settings(SHARING, max_examples=60)
@given(TEXTS, TEXTS, TEXTS)
@example("cafe\u0301", "a", "b")
@example("a", "b", "cafe\u0301")
async def test_text_returns_unchanged_or_is_refused(
    stub: ChatServiceStub, connect: Connect, message_id: str, room_id: str, sender_id: str
) -> None:
    """The same over gRPC, through the proxy, and in the history."""
    said = {"id": message_id, "room_id": room_id, "sender_id": sender_id, "content": room_id}
    client = await connect()
    answer = await client.ask(chat_message=said)
    await client.socket.close()
    async with ChatCall(stub) as call:
        call.say(ChatMessage(message_id, room_id, sender_id, room_id))
        again = await call.receive()
    if "error" in answer:
        assert answer["error"]["message"].startswith(FIELDS)
        assert again.error.message == answer["error"]["message"]
    else:
        came = answer["chat_message"]
        assert {name: came[name] for name in said} == said
        # The same message: its id is the key.
        assert again.chat_message.seq == came["seq"]
        asked = GetChatHistoryRequest(room_id, after_seq=came["seq"] - 1, limit=1)
        [kept] = (await stub.get_chat_history(asked)).messages
        assert (kept.id, kept.room_id, kept.sender_id) == (message_id, room_id, sender_id)
        assert (await stub.get_user(GetUserRequest(sender_id))).user.id == sender_id


async def test_new_ids_survive_a_restart(chat_config: chat.Config) -> None:
    ids = ["گفت\u200cوگو", "👩🏽\u200d💻", "❤\ufe0f", "Book club", "é", "田中"]
    async with (
        chat.serve(chat_config) as server,
        channel_to(server) as channel,
        ChatCall(ChatServiceStub(channel)) as call,
    ):
        for each in ids:
            assert (await call.post(message(each, sender_id=each, key=each))).seq == 1
    async with chat.serve(chat_config) as server, channel_to(server) as channel:
        stub = ChatServiceStub(channel)
        for each in ids:
            [kept] = (await stub.get_chat_history(GetChatHistoryRequest(each))).messages
            assert (kept.id, kept.room_id, kept.sender_id) == (each, each, each)
            assert (await stub.get_user(GetUserRequest(each))).user.name == each


@pytest.fixture
async def connect(chat_server: chat.RunningServer) -> AsyncIterator[Connect]:
    """Opens WebSockets to a proxy in front of `chat_server`."""
    config = proxy.Config(
        host="127.0.0.1", port=0, upstream=chat_server.address,
        rates=NO_RATES, admission=ANY_NUMBER,
    )  # fmt: skip
    async with serve_http(config) as http:
        yield partial(connect_to, http)
