"""Runs one attack in its own process, until terminated.

``python -m bench.attacks NAME GRPC-PORT WEBSOCKET-PORT TOKEN``
"""

import asyncio
import sys
from contextlib import suppress
from typing import Final

import uvloop

from bench.attacks.kinds import ATTACKS, Attack
from bench.targets import HOST
from tests.kit.http2 import PREFACE
from tests.kit.web import handshake

# A different address from the innocent client's.
_FROM: Final = ("127.0.0.2", 0)
_PAUSE_SECONDS: Final = 0.01
_READ_BYTES: Final = 256 * 1024


async def _attack(attack: Attack, grpc: int, websocket: int, token: str) -> None:
    while True:
        if attack.door == "none":
            for _ in attack.chunks(token):
                await asyncio.sleep(0)
        port = grpc if attack.door == "grpc" else websocket
        greeting = PREFACE if attack.door == "grpc" else handshake()
        # Reconnect when closed, as an attacker would.
        with suppress(OSError):
            await _flood(attack, port, greeting, token)
        await asyncio.sleep(_PAUSE_SECONDS)


async def _flood(attack: Attack, port: int, greeting: bytes, token: str) -> None:
    reader, writer = await asyncio.open_connection(HOST, port, local_addr=_FROM)
    reading = asyncio.create_task(_discard(reader))
    try:
        writer.write(greeting)
        for chunk in attack.chunks(token):
            writer.write(chunk)
            await writer.drain()
            await asyncio.sleep(0)
            if reading.done():
                return
    finally:
        reading.cancel()
        await asyncio.wait([reading])
        writer.transport.abort()


async def _discard(reader: asyncio.StreamReader) -> None:
    with suppress(OSError):
        while await reader.read(_READ_BYTES):
            pass


async def _main(name: str, grpc: str, websocket: str, token: str) -> None:
    [attack] = [each for each in ATTACKS if each.name == name]
    attackers = (
        _attack(attack, int(grpc), int(websocket), token) for _ in range(attack.connections)
    )
    await asyncio.gather(*attackers)


if __name__ == "__main__":
    uvloop.run(_main(*sys.argv[1:]))
