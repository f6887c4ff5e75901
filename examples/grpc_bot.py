"""A bot over gRPC: it answers each "ping" in a room. Run: python grpc_bot.py HOST:PORT ROOM."""

import asyncio
import sys
from collections.abc import AsyncIterator

import betterproto
from grpclib.client import Channel

import codec
from gen.chat import ChatMessage, ChatServiceStub, ChatStream, Join, Joined


async def run(host: str, port: int, room_id: str) -> None:
    requests: asyncio.Queue[ChatStream] = asyncio.Queue()
    requests.put_nowait(ChatStream(join=Join(room_id)))

    async def outgoing() -> AsyncIterator[ChatStream]:  # the frames that the bot sends
        while True:
            yield await requests.get()

    async with Channel(host, port, codec=codec.GrpcCodec()) as channel:
        async for reply in ChatServiceStub(channel).chat(outgoing()):
            match betterproto.which_one_of(reply, "payload")[1]:
                case Joined(room_id=joined):
                    print("joined", joined, flush=True)
                case ChatMessage(content="ping"):
                    pong = ChatMessage(room_id=room_id, sender_id="bot", content="pong")
                    requests.put_nowait(ChatStream(chat_message=pong))


if __name__ == "__main__":
    host, port = sys.argv[1].rsplit(":", 1)
    asyncio.run(run(host, int(port), sys.argv[2]))
