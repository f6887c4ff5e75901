"""Well-behaved clients of a proxy that must stay undisturbed while others attack it."""

from __future__ import annotations

import aiohttp

from tests.proxy.web_client import Client, contents

_ROOM = "bystanders"


class Bystanders:
    """Three clients of one proxy: two in a room, and `eve` in none."""

    def __init__(self, ada: Client, bob: Client, eve: Client) -> None:
        self.eve = eve
        self._ada = ada
        self._bob = bob
        self._said = 0

    @classmethod
    async def meet(cls, session: aiohttp.ClientSession, port: int) -> Bystanders:
        """Connects three clients to a proxy; two of them join the room."""
        url = f"http://127.0.0.1:{port}/"
        clients = [Client(await session.ws_connect(url)) for _ in range(3)]
        for each in clients[:2]:
            assert "joined" in await each.ask(join={"room_id": _ROOM})
        return cls(*clients)

    async def check(self) -> None:
        """Checks that a message passes, and nothing else."""
        self._said += 1
        text = str(self._said)
        await self._ada.say(_ROOM, text)
        assert contents([await self._ada.receive(), await self._bob.receive()]) == [text] * 2

    async def part(self) -> None:
        for each in (self._ada, self._bob, self.eve):
            await each.socket.close()
