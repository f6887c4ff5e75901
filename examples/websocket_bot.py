"""A bot over WebSocket: it answers each "ping" in a room. Run: python websocket_bot.py URL ROOM."""

import asyncio
import sys

import aiohttp


async def run(url: str, room_id: str) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        await socket.send_json({"join": {"room_id": room_id}})
        async for frame in socket:
            match frame.json():
                case {"joined": {"room_id": joined}}:
                    print("joined", joined, flush=True)
                case {"chat_message": {"content": "ping"}}:
                    pong = {"room_id": room_id, "sender_id": "bot", "content": "pong"}
                    await socket.send_json({"chat_message": pong})
                case {"error": {"message": text}}:
                    print("refused:", text, flush=True)


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], sys.argv[2]))
