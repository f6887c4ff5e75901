"""Entering a room: the seam between replay and live.

A `join` with a position must give what was missed and then what is live, with no gap and no
duplicate. Reading the history takes time, and messages keep coming::

    room.last_seq   5          6     7                8 ...
    client          pinned  ---------------------->   member
    is written      joined  3 4 5      6     7        8 ...
                            from the history          live

1. The room is *pinned*: it stays subscribed to, and `last_seq` rises with each message that
   is delivered to its members. The client is none yet.
2. The replay reads pages of the history, never beyond `last_seq`: what the server has stored
   and not delivered here yet will come live.
3. When nothing is missing up to `last_seq`, the client is made a member in the same turn of
   the event loop: nothing is awaited in between, so no message can come in between.

What the client itself sends meanwhile is stored, and found in the replay: `Room.replaying`
keeps the request id for it, so that it is answered there, and once. `Fanout.add` puts it there,
`Replay._write` takes it out.

A client may be ahead: it comes from another proxy, which was brought more of the room. If the
server has the message at its position, that is on its way here too, and is waited for; then
all goes on as above. If not, the client has another history: `recovered` is false.

If the link is lost meanwhile, the room may go on with another epoch. Then the rest of the
replay is worth nothing: the client is told `recovered: false`, and enters where the room is.
"""

import asyncio
from functools import partial
from typing import Final

from gen.chat import (
    ChatMessage,
    GetChatHistoryRequest,
    GetChatHistoryResponse,
    Join,
    Joined,
    ServerFrame,
)
from hosting.logs import get_logger
from proxy.clients.context import Context
from proxy.clients.replay import Replay
from proxy.clients.session import Session
from proxy.clients.socket import ClientSocket
from proxy.clients.turns import Work
from proxy.core.call_table import HISTORY_CALL
from proxy.core.client import Client
from proxy.core.room import Room
from proxy.errors import Refused

log = get_logger(__name__)

# While the client is made to wait, it is noticed so soon that it is gone.
_PAY_SECONDS: Final = 1.0


class Joining:
    """One client on its way into a room."""

    __slots__ = ("_client", "_context", "_session", "_socket", "_work")

    def __init__(
        self, context: Context, client: Client, socket: ClientSocket, session: Session, work: Work
    ) -> None:
        self._context = context
        self._client = client
        self._socket = socket
        self._session = session
        self._work = work

    async def run(self, join: Join, request_id: str | None) -> None:
        """Brings the client into the room, and answers.

        Raises:
            Refused: the room cannot be had.
        """
        rooms = self._context.switchboard.rooms
        # Joining again starts over.
        rooms.remove_member(self._client, join.room_id)
        with rooms.pinned(join.room_id) as room:
            await rooms.wait_live(room)
            if room.is_behind(join):
                await self._catch_up(room, join.after_seq or 0)
            if self._socket.is_gone:
                # Or dismissed: it came before it was known that the server asks for tokens.
                return
            await self._answer_and_replay(room, join, request_id)
            # No await between the end of the replay and this: step 3.
            if not self._socket.is_gone:
                rooms.add_member(self._client, room)

    async def _answer_and_replay(self, room: Room, join: Join, request_id: str | None) -> None:
        """Writes the answer and the replay; awaits nothing after that."""
        replay = room.can_replay(join, self._context.config.replay_messages)
        joined = Joined(room.room_id, room.epoch, room.last_seq, replay)
        self._socket.write_frame(ServerFrame(joined=joined, request_id=request_id))
        whole = replay and await Replay(
            self._client, self._socket, room, partial(self._page, room.epoch), self._work
        ).run(join.after_seq or 0)
        self._context.metrics.joined(asked=join.after_seq is not None, recovered=whole)
        if replay and not whole:
            joined = Joined(room.room_id, room.epoch, room.last_seq, recovered=False)
            self._socket.write_frame(ServerFrame(joined=joined))

    async def _catch_up(self, room: Room, seq: int) -> None:
        """Waits for a position that the client has had from another proxy.

        Nothing is waited for that the server does not have either.

        Raises:
            Refused: the server could not be asked, or this proxy stays behind.
        """
        page = await self._fetch(GetChatHistoryRequest(room.room_id, 1, after_seq=seq - 1))
        if page.epoch == room.epoch and [message.seq for message in page.messages] == [seq]:
            await self._context.switchboard.rooms.wait_delivered(room, seq)

    async def _page(self, epoch: str, request: GetChatHistoryRequest) -> list[ChatMessage]:
        """Reads a page of the history; an empty one if it cannot be read, or is of another."""
        await self._pay(self._session.history_wait())
        try:
            page = await self._fetch(request)
        except Refused as refused:
            # The client was told that it is in the room, so it will be; it can page
            # through the missing messages later.
            log.warning("replay given up", room_id=request.room_id, reason=str(refused))
            return []
        self._context.metrics.replayed += len(page.messages)
        self._session.charge_history(len(page.messages))
        # The server may tell of another epoch here before it does on the stream.
        return page.messages if page.epoch == epoch else []

    async def _fetch(self, request: GetChatHistoryRequest) -> GetChatHistoryResponse:
        call = self._context.calls[HISTORY_CALL]
        page = await self._context.make_call(call, request, self._client.caller)
        if not isinstance(page, GetChatHistoryResponse):
            raise TypeError(f"the answer to {call.field} is a {type(page).__name__}")
        return page

    async def _pay(self, seconds: float) -> None:
        """Waits until the client has paid for the pages before, as long as it is there."""
        while seconds > 0 and not self._socket.is_gone:
            await asyncio.sleep(min(seconds, _PAY_SECONDS))
            seconds -= _PAY_SECONDS
