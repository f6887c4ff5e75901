"""A test suite of a chat client: real servers, on free ports."""

import pytest
from aiohttp.test_utils import TestClient, TestServer

import chat
import proxy


@pytest.mark.asyncio
async def test_a_message_reaches_the_history() -> None:
    config = chat.Config(host="127.0.0.1", port=0, database=chat.IN_MEMORY)
    async with chat.serve(config) as server:
        app = proxy.create_app(proxy.Config(upstream=server.address))
        async with TestClient(TestServer(app)) as client, client.ws_connect("/") as socket:
            message = {"room_id": "lobby", "sender_id": "ada", "content": "hello"}
            await socket.send_json({"chat_message": message})
            assert (await socket.receive_json())["chat_message"]["seq"] == 1

            await socket.send_json({"get_chat_history": {"room_id": "lobby"}})
            [stored] = (await socket.receive_json())["chat_history"]["messages"]
            assert stored["content"] == "hello"
