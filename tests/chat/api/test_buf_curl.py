"""`buf curl` finds its way by reflection: it is given no schema."""

from __future__ import annotations

import json
from typing import Any

import chat
from tests.buf import Result, buf


async def curl(*arguments: str) -> Result:
    return await buf("curl", "--protocol", "grpc", "--http2-prior-knowledge", *arguments)


async def call(server: chat.RunningServer, method: str, **fields: Any) -> Result:
    url = f"http://{server.address}/chat.ChatService/{method}"
    return await curl("--data", json.dumps(fields), url)


async def test_it_lists_the_services(chat_server: chat.RunningServer) -> None:
    listed = await curl("--list-services", f"http://{chat_server.address}")
    assert listed.status == 0, listed.errors
    assert {"chat.ChatService", "chat.RelayService", "grpc.health.v1.Health"} <= set(
        listed.output.split()
    )


async def test_it_lists_the_methods(chat_server: chat.RunningServer) -> None:
    listed = await curl("--list-methods", f"http://{chat_server.address}")
    assert listed.status == 0, listed.errors
    assert "chat.ChatService/GetChatHistory" in listed.output.split()


async def test_it_calls(chat_server: chat.RunningServer) -> None:
    user = {"user_id": "ada", "name": "Ada", "email": "ada@example.com"}
    stored = await call(chat_server, "UpsertUser", **user)
    assert stored.status == 0, stored.errors
    found = await call(chat_server, "GetUser", user_id="ada")
    assert json.loads(found.output) == {
        "user": {"id": "ada", "name": "Ada", "email": "ada@example.com", "status": "INACTIVE"}
    }


async def test_it_shows_a_refusal(chat_server: chat.RunningServer) -> None:
    refused = await call(chat_server, "GetUser", user_id="nobody")
    assert refused.status != 0
    assert json.loads(refused.errors) == {
        "code": "not_found",
        "message": "user_id: there is no user nobody",
    }


async def test_it_chats(chat_server: chat.RunningServer) -> None:
    message = {"id": "1", "room_id": "room", "sender_id": "ada", "content": "hello"}
    heard = await call(chat_server, "Chat", chat_message=message)
    assert heard.status == 0, heard.errors
    answer = json.loads(heard.output)["chatMessage"]
    assert (answer["roomId"], answer["content"], answer["seq"]) == ("room", "hello", 1)
