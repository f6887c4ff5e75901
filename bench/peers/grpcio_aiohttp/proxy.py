"""The proxy: a gRPC stream for each WebSocket, JSON in between.

``python -m bench.peers.grpcio_aiohttp.proxy HOST:PORT``
"""

import asyncio
import json
import signal
import sys
from typing import Any

import grpc  # type: ignore[import-untyped]  # it has no types
import uvloop
from aiohttp import ClientConnectionResetError, WSMsgType, web

from bench.peers.grpcio_aiohttp.schema import messages as pb
from bench.peers.grpcio_aiohttp.schema import services


class _Proxy:
    def __init__(self, channel: Any) -> None:
        self._stub = services.ChatServiceStub(channel)

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False, heartbeat=30.0)
        await socket.prepare(request)
        call = self._stub.Chat()
        forwarding = asyncio.create_task(_forward(call, socket))
        try:
            async for frame in socket:
                if frame.type is WSMsgType.TEXT:
                    await self._receive(frame.data, call, socket)
        finally:
            call.cancel()
            await forwarding
        return socket

    async def _receive(self, text: str, call: Any, socket: web.WebSocketResponse) -> None:
        try:
            frame = json.loads(text)
            if "chat_message" in frame:
                message = pb.ChatMessage(**frame["chat_message"])
                await call.write(pb.ChatStream(chat_message=message))
            elif "join" in frame:
                await call.write(pb.ChatStream(join=pb.Join(**frame["join"])))
            else:
                request = pb.GetChatHistoryRequest(**frame["get_chat_history"])
                await _send_history(socket, await self._stub.GetChatHistory(request))
        except (KeyError, TypeError, ValueError) as error:
            wrong = {"code": "INVALID_ARGUMENT", "message": str(error), "retryable": False}
            await socket.send_str(json.dumps({"error": wrong}))


async def _forward(call: Any, socket: web.WebSocketResponse) -> None:
    try:
        async for response in call:
            await socket.send_str(json.dumps(_to_frame(response)))
    except (asyncio.CancelledError, grpc.RpcError, ClientConnectionResetError):
        await socket.close()


async def _send_history(socket: web.WebSocketResponse, response: Any) -> None:
    page = {
        "messages": [_to_json(message) for message in response.messages],
        "has_more": response.has_more,
        "epoch": response.epoch,
    }
    await socket.send_str(json.dumps({"chat_history": page}))


def _to_frame(response: Any) -> dict[str, Any]:
    payload = response.WhichOneof("payload")
    if payload == "chat_message":
        return {"chat_message": _to_json(response.chat_message)}
    if payload == "joined":
        joined = response.joined
        return {
            "joined": {
                "room_id": joined.room_id,
                "epoch": joined.epoch,
                "last_seq": joined.last_seq,
                "recovered": joined.recovered,
            }
        }
    error = response.error
    code = pb.Error.Code.Name(error.code)
    return {"error": {"code": code, "message": error.message, "retryable": error.retryable}}


def _to_json(message: Any) -> dict[str, Any]:
    return {
        "id": message.id,
        "room_id": message.room_id,
        "sender_id": message.sender_id,
        "content": message.content,
        "seq": message.seq,
        "sent_at": message.sent_at.ToJsonString(),
    }


async def main(upstream: str) -> None:
    """Serves until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with grpc.aio.insecure_channel(upstream) as channel:
        app = web.Application()
        app.router.add_get("/", _Proxy(channel).serve)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        print(f"grpcio proxy ready: WebSocket on ws://{host}:{port}", flush=True)
        await stop.wait()
        await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
