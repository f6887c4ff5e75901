"""Follows a room over gRPC, edits and reactions too. Run: python grpc_follower.py HOST:PORT ROOM.

What happened while it had no connection is told when it has one again: its position is the epoch,
the last message and the last change that it has.
"""

import asyncio
import sys
from collections.abc import AsyncIterator

from grpclib import GRPCError
from grpclib.client import Channel
from grpclib.exceptions import ProtocolError, StreamTerminatedError

import codec
from gen import chat


def show(seq: int, text: str | None, state: chat.MessageState) -> None:
    # No text: it is as before. An empty one: the message was deleted.
    print(seq, text, {each.emoji: each.count for each in state.reactions}, flush=True)


async def run(host: str, port: int, room_id: str) -> None:
    follow = [chat.JoinFollow(chat.JoinFollow.CHANGES)]
    position = chat.Join(room_id, after_seq=0, follow=follow, after_change=0)

    async def outgoing() -> AsyncIterator[chat.ChatStream]:
        yield chat.ChatStream(join=position)
        await asyncio.Event().wait()  # the stream stays open

    while True:
        try:
            async with Channel(host, port, codec=codec.GrpcCodec()) as channel:
                async for reply in chat.ChatServiceStub(channel).chat(outgoing()):
                    match reply.payload:
                        case chat.Joined() as joined:
                            print("joined", room_id, flush=True)
                            position.epoch = joined.epoch
                            if not joined.recovered:  # GetChatHistory has what was missed
                                position.after_seq = joined.last_seq
                                position.after_change = joined.last_change
                        case chat.ChatMessage() as message:
                            position.after_seq = message.seq
                            show(message.seq, message.content, message.extra.state)
                        case chat.RoomChanges() as changes:
                            position.after_change = changes.last_change
                            for each in changes.messages:
                                show(each.seq, each.content, each.state)
        except (OSError, GRPCError, ProtocolError, StreamTerminatedError):
            await asyncio.sleep(0.5)  # then go on where it was


if __name__ == "__main__":
    host, port = sys.argv[1].rsplit(":", 1)
    asyncio.run(run(host, int(port), sys.argv[2]))
