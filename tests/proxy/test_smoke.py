"""A message, from a WebSocket to the disk and back."""

import aiohttp

import proxy


async def test_a_message_comes_back(chat_proxy: proxy.RunningProxy) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(chat_proxy.url) as socket:
        sent = {"id": "1", "room_id": "r", "sender_id": "ada", "content": "hello"}
        await socket.send_json({"chat_message": sent})
        answer = (await socket.receive_json())["chat_message"]
        assert {name: answer[name] for name in sent} == sent
        assert answer["seq"] == 1
