"""What a client missed: read page by page, and written before anything live.

Two things may be missing, and each goes on while the other is read: messages behind a position, and
changes behind a change. Changes come first, and only those of messages that the client has: the
others it will get as they stand. In the turn of the event loop in which neither is missing, the
client has what is there.

Pages of changes are read to the last of them, even beyond what this proxy was told: of a
message that changed twice, a page has the last change alone, with its text; what comes live
later has a text only if that changed later. But no client is told numbers beyond those that this
proxy was told, since what comes live begins there. So what was read and what was told are two
numbers; the latter is brought forward last, by a span without messages if need be.
"""

from typing import Final

import codec
from gen.chat import ChatMessage, RoomChanges, ServerFrame
from proxy.clients.pages import Pages
from proxy.clients.socket import ClientSocket
from proxy.clients.turns import Work
from proxy.core import frames
from proxy.core.changes import tells_room
from proxy.core.client import Client
from proxy.core.room import Room

# The price of a message that is replayed: read from the server, written for one client.
_WORK: Final = 2


class Replay:
    """One replay, to one client.

    Args:
        client: the client.
        socket: its socket.
        room: the room that it is about to enter.
        pages: reads what it missed.
        work: counts the work that was done for the client.
        limit: the most messages that may have changed.
    """

    def __init__(
        self,
        client: Client,
        socket: ClientSocket,
        room: Room,
        pages: Pages,
        work: Work,
        limit: int,
    ) -> None:
        self._work = work
        self._client = client
        self._socket = socket
        self._room = room
        self._epoch = room.epoch
        self._pages = pages
        self._limit = limit
        # The messages that the client sent meanwhile: it is to find them in the replay.
        self._own: dict[int, tuple[ChatMessage, str | None]] = {}

    async def run(self, after_seq: int, after_change: int | None) -> bool:
        """Writes what came after a position.

        It returns in the turn of the event loop in which nothing is missing. The caller has
        to enter the room in that same turn: no gap, no duplicate.

        Args:
            after_seq: the last message that the client has.
            after_change: its last change; `None` if it does not ask for what changed.

        Returns:
            Whether all of it was there and could be read.
        """
        self._room.replaying[self._client] = self._own
        try:
            whole = await self._run(after_seq, after_change)
        finally:
            del self._room.replaying[self._client]
        # Messages that the replay did not come to are answered all the same.
        for message, request_id in self._own.values():
            self._socket.write(frames.message(message, request_id))
        return whole

    async def _run(self, seq: int, change: int | None) -> bool:
        room, left, more = self._room, self._limit, False
        # What changes while this runs is not counted: a slow client would come to no end.
        counted = room.last_change or 0
        told = change or 0
        while not self._socket.is_gone and room.epoch == self._epoch:
            known = room.last_change or 0
            if change is not None and (more or change < known):
                page = await self._pages.changes(self._epoch, change)
                if page is None or page.changes.last_change <= change or room.epoch != self._epoch:
                    return False
                if change < counted:
                    left -= len(page.changes.messages)
                if left < 0:
                    return False
                told = await self._write_changes(page.changes, told, seq)
                change, more = page.changes.last_change, page.has_more
            elif change is not None and told < known:
                told = await self._write_changes(RoomChanges(room.room_id, told, known), told, seq)
            elif seq < room.last_seq:
                messages = await self._pages.messages(self._epoch, seq, room.last_seq)
                if not messages or room.epoch != self._epoch:
                    return False
                for message in messages:
                    await self._write(message)
                seq = messages[-1].seq
            else:
                break
        return room.epoch == self._epoch

    async def _write_changes(self, page: RoomChanges, after_change: int, seq: int) -> int:
        """Writes what changed of the messages up to a position.

        Args:
            page: what was read.
            after_change: the change up to which the client was told all.
            seq: the position.

        Returns:
            The change up to which it is told all now.
        """
        messages = [each for each in page.messages if each.seq <= seq]
        # Not further than this proxy was told: what comes live begins there.
        known = self._room.last_change or page.last_change
        last_change = max(after_change, min(page.last_change, known))
        told = RoomChanges(page.room_id, min(after_change, known), last_change, messages)
        if tells_room(page):
            told.room = page.room
        if self._work.add(_WORK * max(len(messages), 1)):
            await self._work.rest()
        await self._socket.send_and_wait(codec.to_json(ServerFrame(changes=told)))
        return last_change

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
        await self._socket.send_and_wait(codec.to_json(frame))
