"""The chat server: a gRPC stream for each client, rooms and their history in memory."""

import asyncio
import signal
import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc  # type: ignore[import-untyped]  # it has no types
import uvloop

from bench.peers.grpcio_aiohttp.schema import messages as pb
from bench.peers.grpcio_aiohttp.schema import services

_DEFAULT_PAGE = 50
_LARGEST_PAGE = 500

_Queue = asyncio.Queue[Any]


class _Room:
    def __init__(self) -> None:
        self.members: dict[_Queue, None] = {}
        self.messages: list[Any] = []


class _Chat(services.ChatServiceServicer):  # type: ignore[misc]  # it has no types
    def __init__(self) -> None:
        self._epoch = uuid.uuid4().hex
        self._rooms: dict[str, _Room] = {}

    async def Chat(  # noqa: N802 - the schema's name
        self, requests: AsyncIterator[Any], context: Any
    ) -> None:
        queue: _Queue = asyncio.Queue()
        joined: set[_Room] = set()
        writing = asyncio.create_task(_write(queue, context))
        try:
            async for request in requests:
                self._receive(request, queue, joined)
        finally:
            writing.cancel()
            for room in joined:
                room.members.pop(queue, None)

    async def GetChatHistory(  # noqa: N802 - the schema's name
        self, request: Any, _context: Any
    ) -> Any:
        stored = self._rooms[request.room_id].messages if request.room_id in self._rooms else []
        page = stored[-min(request.limit or _DEFAULT_PAGE, _LARGEST_PAGE) :]
        return pb.GetChatHistoryResponse(
            messages=page, has_more=len(page) < len(stored), epoch=self._epoch
        )

    def _receive(self, request: Any, queue: _Queue, joined: set[_Room]) -> None:
        payload = request.WhichOneof("payload")
        if payload == "chat_message":
            message = request.chat_message
            if not (message.room_id and message.sender_id and message.content):
                queue.put_nowait(_wrong("chat_message: room_id, sender_id and content are needed"))
                return
            _publish(self._enter(message.room_id, queue, joined), message)
        elif payload == "join":
            room_id = request.join.room_id
            last_seq = len(self._enter(room_id, queue, joined).messages)
            answer = pb.Joined(room_id=room_id, epoch=self._epoch, last_seq=last_seq)
            queue.put_nowait(pb.ChatStream(joined=answer))
        else:
            queue.put_nowait(_wrong("payload: expected chat_message or join"))

    def _enter(self, room_id: str, queue: _Queue, joined: set[_Room]) -> _Room:
        room = self._rooms.setdefault(room_id, _Room())
        room.members[queue] = None
        joined.add(room)
        return room


def _publish(room: _Room, message: Any) -> None:
    if not message.id:
        message.id = uuid.uuid4().hex
    message.seq = len(room.messages) + 1
    message.sent_at.GetCurrentTime()
    room.messages.append(message)
    event = pb.ChatStream(chat_message=message)
    for queue in room.members:
        queue.put_nowait(event)


def _wrong(text: str) -> Any:
    error = pb.Error(code=pb.Error.INVALID_ARGUMENT, message=text)
    return pb.ChatStream(error=error)


async def _write(queue: _Queue, context: Any) -> None:
    while True:
        await context.write(await queue.get())


async def main() -> None:
    """Serves until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = grpc.aio.server()
    services.add_ChatServiceServicer_to_server(_Chat(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"grpcio server ready: gRPC on 127.0.0.1:{port}", flush=True)
    await stop.wait()
    await server.stop(None)


if __name__ == "__main__":
    uvloop.run(main())
