"""Both servers inside another program: they print nothing unless it configures logging."""

from pathlib import Path

from tests.kit.processes import run_program

# A run with warnings in it: invalid frames, requests and preface, a server that goes
# away while it is needed, and an error of the store.
PROGRAM = """
import asyncio, sys
from pathlib import Path
import aiohttp
import chat, proxy
from hosting.logs import get_logger
{asking}
async def say(host, port, data):
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(data)
    await reader.read()
    writer.close()

async def main():
    config = chat.Config(host="127.0.0.1", port=0, database=sys.argv[1] + "/chat.db")
    async with chat.serve(config) as server:
        settings = proxy.Config(host="127.0.0.1", port=0, upstream=server.address, call_seconds=0.5)
        async with proxy.serve(settings) as door, aiohttp.ClientSession() as session:
            async with session.ws_connect(door.url) as socket:
                hello = {{"room_id": "lobby", "sender_id": "ada", "content": "hello"}}
                await socket.send_json({{"chat_message": hello}})
                await socket.receive_json()
                await socket.send_str("no frame")
                await socket.receive_json()
            async with session.get(door.url, headers={{"Origin": "http://x", "Upgrade": "websocket",
                    "Connection": "upgrade", "Sec-WebSocket-Version": "13",
                    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}}):
                pass
            await say(door.host, door.port, b"no HTTP\\r\\n\\r\\n")
            await say(server.host, server.port, b"no HTTP/2 preface at all, and long enough")
            log = get_logger("chat.program")
            log.warning("told", number=1)
            try:
                raise OSError("of a disk")
            except OSError:
                log.exception("failed")

asyncio.run(main())
"""


def printed(folder: Path, asking: str = "") -> tuple[str, str]:
    """Output of a program that runs both servers, on standard output and error."""
    return run_program(PROGRAM.format(asking=asking), str(folder))


def test_embedded_servers_print_nothing(tmp_path: Path) -> None:
    assert printed(tmp_path) == ("", "")


def test_embedded_servers_leave_structlog_alone(tmp_path: Path) -> None:
    own = "import structlog; structlog.configure(processors=[structlog.processors.JSONRenderer()])"
    assert printed(tmp_path, f"{own}\nstructlog.get_logger().warning('own')") == (
        '{"event": "own"}\n',
        "",
    )


def test_logging_handler_gets_each_event(tmp_path: Path) -> None:
    asking = "import logging; logging.basicConfig(format='%(levelname)s %(name)s %(message)s')"
    output, errors = printed(tmp_path, asking)
    assert output == ""
    assert "WARNING chat.program event=told number=1\n" in errors
    assert "ERROR chat.program event=failed\nTraceback (most recent call last):\n" in errors
    assert errors.endswith("OSError: of a disk\n")
