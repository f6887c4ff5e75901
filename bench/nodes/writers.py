"""A node without clients: stores messages as fast as they are stored, in a process of its own.

``python -m bench.nodes.writers URL NODE ROOMS WAITING``. It says ``ready``; for each number of
seconds that it reads, it stores for as long, and says how many messages it stored and how many
of others it was brought, as JSON.
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence

import uvloop

from bench.stores import open_store, renew
from chat.storage.base import Store
from chat.storage.listener import Listener
from gen.chat import ChatMessage

_CONTENT = "x" * 64


class _Node:
    """Clients that each store a message, wait for it, and store the next."""

    def __init__(self, name: str, rooms: int, waiting: int) -> None:
        self._name = name
        self._rooms = [f"room-{number}" for number in range(rooms)]
        self._waiting = waiting
        self._number = 0
        self._announced = 0

    def announce(self, messages: Sequence[ChatMessage]) -> None:
        self._announced += len(messages)

    async def run(self, url: str) -> None:
        store = await open_store(url, Listener(self.announce, renew))
        for room_id in self._rooms:
            await store.follow(room_id)
        print("ready", flush=True)
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            print(json.dumps(await self._store(store, float(line))), flush=True)
        await store.close()

    async def _store(self, store: Store, seconds: float) -> dict[str, float]:
        before, announced = self._number, self._announced
        start = time.perf_counter()
        writers = (self._write(store, nth, start + seconds) for nth in range(self._waiting))
        await asyncio.gather(*writers)
        own = self._number - before
        return {
            "messages": own,
            "of_others": self._announced - announced - own,
            "seconds": time.perf_counter() - start,
        }

    async def _write(self, store: Store, nth: int, deadline: float) -> None:
        room_id = self._rooms[nth % len(self._rooms)]
        while time.perf_counter() < deadline:
            self._number += 1
            name = f"{self._name}-{self._number}"
            message = ChatMessage(id=name, room_id=room_id, sender_id=self._name, content=_CONTENT)
            await store.append([message])


def main(url: str, name: str, rooms: str, waiting: str) -> None:
    """Runs until standard input ends."""
    uvloop.run(_Node(name, int(rooms), int(waiting)).run(url))


if __name__ == "__main__":
    main(*sys.argv[1:])
