"""Messages that a client missed: read page by page, and written before anything live."""

from collections.abc import Awaitable, Callable
from typing import Final

from gen.chat import ChatMessage, GetChatHistoryRequest, ServerFrame
from proxy.clients.socket import ClientSocket
from proxy.clients.turns import Work
from proxy.core import frames
from proxy.core.client import Client
from proxy.core.room import Room

# So many messages are read at a time.
_PAGE: Final = 100

# The price of a message that is replayed: read from the server, written for one client.
_WORK: Final = 2

Fetch = Callable[[GetChatHistoryRequest], Awaitable[list[ChatMessage]]]
"""Reads a page of history; an empty one if it cannot be read."""


class Replay:
    """One replay, to one client.

    Args:
        client: the client.
        socket: its socket.
        room: the room that it is about to enter.
        fetch: reads the pages.
        work: counts the work that was done for the client.
    """

    def __init__(
        self, client: Client, socket: ClientSocket, room: Room, fetch: Fetch, work: Work
    ) -> None:
        self._work = work
        self._client = client
        self._socket = socket
        self._room = room
        self._fetch = fetch
        # The messages that the client sent meanwhile: it is to find them in the replay.
        self._own: dict[int, tuple[ChatMessage, str | None]] = {}

    async def run(self, after_seq: int) -> bool:
        """Writes the messages after a position.

        It returns in the turn of the event loop in which nothing is missing. The caller has
        to enter the room in that same turn: no gap, no duplicate.

        Returns:
            Whether all of it was there and could be read.
        """
        self._room.replaying[self._client] = self._own
        try:
            whole = await self._pages(after_seq)
        finally:
            del self._room.replaying[self._client]
        # Messages that the replay did not come to are answered all the same.
        for message, request_id in self._own.values():
            self._socket.write(frames.message(message, request_id))
        return whole

    async def _pages(self, cursor: int) -> bool:
        room = self._room
        epoch = room.epoch
        while cursor < room.last_seq and not self._socket.is_gone:
            page = await self._fetch(
                GetChatHistoryRequest(
                    room.room_id, _PAGE, before_seq=room.last_seq + 1, after_seq=cursor
                )
            )
            if room.epoch != epoch or not page:
                return False
            for message in page:
                await self._write(message)
            cursor = page[-1].seq
        return room.epoch == epoch

    async def _write(self, message: ChatMessage) -> None:
        sent, request_id = self._own.get(message.seq, (None, None))
        # In another epoch, another message has this position.
        if sent is not None and sent.id == message.id:
            del self._own[message.seq]
        else:
            request_id = None
        if self._work.add(_WORK):
            await self._work.rest()
        frame = ServerFrame(chat_message=message, request_id=request_id)
        await self._socket.send_and_wait(frame)
