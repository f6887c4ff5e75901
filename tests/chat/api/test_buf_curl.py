"""`buf curl` without a schema: calls by reflection. More is in docs/grpc-api.md."""

import json
from typing import Any

import chat
from tests.buf import Result, buf


async def call(server: chat.RunningServer, method: str, **fields: Any) -> Result:
    url = f"http://{server.address}/chat.ChatService/{method}"
    options = ("--protocol", "grpc", "--http2-prior-knowledge", "--data", json.dumps(fields))
    return await buf("curl", *options, url)


async def test_buf_curl_calls(chat_server: chat.RunningServer) -> None:
    user = {"user_id": "ada", "name": "Ada", "email": "ada@example.com"}
    stored = await call(chat_server, "UpsertUser", **user)
    assert stored.status == 0, stored.errors
    found = await call(chat_server, "GetUser", user_id="ada")
    assert json.loads(found.output) == {
        "user": {"id": "ada", "name": "Ada", "email": "ada@example.com", "status": "INACTIVE"}
    }


async def test_buf_curl_shows_a_refusal(chat_server: chat.RunningServer) -> None:
    refused = await call(chat_server, "GetUser", user_id="nobody")
    assert refused.status != 0
    assert json.loads(refused.errors) == {
        "code": "not_found",
        "message": "user_id: there is no user nobody",
    }
