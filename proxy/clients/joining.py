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

If the client follows changes, the same holds for `last_change`: the replay reads what changed, too,
until neither is missing. `Replay` has the order.

What the client itself sends meanwhile is stored, and found in the replay: `Room.replaying`
keeps the request id for it, so that it is answered there, and once. `Fanout.add` puts it there,
`Replay._write` takes it out.

A client may be ahead: it comes from another proxy, which was brought more of the room. If the
server has the message and the change of its position, that is on its way here too, and is waited
for; then all goes on as above. If not, the client has another history: `recovered` is false.

If the link is lost meanwhile, the room may go on with another epoch. Then the rest of the
replay is worth nothing: the client is told `recovered: false`, and enters where the room is.
"""

from gen.chat import Join, Joined, ServerFrame
from proxy.clients.context import Context
from proxy.clients.pages import Pages
from proxy.clients.replay import Replay
from proxy.clients.session import Session
from proxy.clients.socket import ClientSocket
from proxy.clients.turns import Work
from proxy.core.client import Client
from proxy.core.followers import wants_changes
from proxy.core.room import Room


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
        pages = Pages(self._context, self._client, self._socket, self._session, join.room_id)
        with rooms.pinned(join.room_id) as room:
            await rooms.wait_live(room)
            if room.is_behind(join):
                await self._catch_up(room, join, pages)
            if self._socket.is_gone:
                # Or dismissed: it came before it was known that the server asks for tokens.
                return
            await self._answer_and_replay(room, join, request_id, pages)
            # No await between the end of the replay and this: step 3.
            if not self._socket.is_gone:
                rooms.add_member(self._client, room, join)

    async def _answer_and_replay(
        self, room: Room, join: Join, request_id: str | None, pages: Pages
    ) -> None:
        """Writes the answer and the replay; awaits nothing after that."""
        limit = self._context.config.replay_messages
        replay = room.can_replay(join, limit)
        answer = _joined(room, join, recovered=replay)
        self._socket.write_frame(ServerFrame(joined=answer, request_id=request_id))
        whole = replay
        if replay:
            # It asks for no changes where it was told of none.
            after_change = None if answer.last_change is None else join.after_change
            whole = await Replay(self._client, self._socket, room, pages, self._work, limit).run(
                join.after_seq or 0, after_change
            )
            if answer.last_change is None and _last_change(room, join) is not None:
                # The link has moved to a server that tells of changes.
                whole = False
        self._context.metrics.joined(asked=join.after_seq is not None, recovered=whole)
        if replay and not whole:
            joined = _joined(room, join, recovered=False)
            self._socket.write_frame(ServerFrame(joined=joined))

    async def _catch_up(self, room: Room, join: Join, pages: Pages) -> None:
        """Waits for a position that the client has had from another proxy.

        Nothing is waited for that the server does not have either.

        Raises:
            Refused: the server could not be asked, or this proxy stays behind.
        """
        seq, change = join.after_seq or 0, join.after_change or 0
        if seq > room.last_seq and not await pages.has_message(room.epoch, seq):
            return
        if room.lacks_change(change) and not await pages.has_change(room.epoch, change):
            return
        await self._context.switchboard.rooms.wait_delivered(room, seq, change)


def _joined(room: Room, join: Join, *, recovered: bool) -> Joined:
    """Returns what a client is told that enters."""
    last_change = _last_change(room, join)
    return Joined(room.room_id, room.epoch, room.last_seq, recovered, last_change)


def _last_change(room: Room, join: Join) -> int | None:
    return room.last_change if wants_changes(join) else None
