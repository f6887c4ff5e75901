"""A bare aiohttp broadcast: no gRPC, no history, no order, no checks.

The upper bound of `send_str` to each member of a room, to show the cost of the rest of
a chat.
"""

import asyncio
import json
import signal
from collections import defaultdict

import uvloop
from aiohttp import ClientConnectionResetError, web

_Socket = web.WebSocketResponse
_rooms: defaultdict[str, dict[_Socket, None]] = defaultdict(dict)


async def _serve(request: web.Request) -> _Socket:
    socket = _Socket(compress=False, heartbeat=30.0)
    await socket.prepare(request)
    joined: set[str] = set()
    try:
        async for frame in socket:
            await _receive(socket, joined, frame.data)
    finally:
        for room_id in joined:
            del _rooms[room_id][socket]
    return socket


async def _receive(socket: _Socket, joined: set[str], text: str) -> None:
    frame = json.loads(text)
    room_id = (frame.get("join") or frame["chat_message"])["room_id"]
    joined.add(room_id)
    _rooms[room_id][socket] = None
    if "join" in frame:
        await socket.send_str(json.dumps({"joined": {"room_id": room_id}}))
        return
    for member in tuple(_rooms[room_id]):
        try:
            await member.send_str(text)
        except ClientConnectionResetError:
            continue


async def main() -> None:
    """Serves until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    app = web.Application()
    app.router.add_get("/", _serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    print(f"broadcast ready: WebSocket on ws://{host}:{port}", flush=True)
    await stop.wait()
    await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(main())
