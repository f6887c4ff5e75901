"""A batch of messages, turned into one write for each member of a room: no I/O of its own.

Each message becomes a frame once. Only a sender that gave a request id gets a frame of its
own. What else is told about the rooms goes behind all messages of the batch: so nobody hears of a
change before the message.
"""

from collections.abc import Callable, Sequence

from gen.chat import ChatMessage
from hosting.faults import Faults
from proxy.core import frames
from proxy.core.client import Client
from proxy.core.room import Room
from proxy.core.unconfirmed import UnconfirmedSend
from proxy.metrics import ProxyMetrics


class Fanout:
    """The frames of one batch, by room."""

    def __init__(self, metrics: ProxyMetrics | None = None, faults: Faults | None = None) -> None:
        self._metrics = metrics or ProxyMetrics()
        self._faults = faults or Faults()
        # The times at which the sends came that are answered.
        self._came: list[float] = []
        self._rooms: dict[Room, list[bytes]] = {}
        # Frames with a request id, by member and by the index of the shared one.
        self._personal: dict[tuple[Room, Client], dict[int, bytes]] = {}
        self._behind: list[Callable[[], None]] = []

    def add(self, room: Room, message: ChatMessage, send: UnconfirmedSend | None) -> bool:
        """Adds a message; returns whether it will answer the send.

        Raises:
            Exception: no frame can be made of it, and nobody will get it; or none with the
                request id, and the sender gets the shared one.
        """
        frame = frames.message(message)
        frame_list = self._rooms.setdefault(room, [])
        frame_list.append(frame)
        if send is None:
            return True
        self._came.append(send.came)
        if room.replaying and room.keep_for_replay(send.client, message, send.request_id):
            return True
        if send.client not in room.members:
            return False
        if send.request_id is not None:
            own = self._personal.setdefault((room, send.client), {})
            own[len(frame_list) - 1] = frames.message(message, send.request_id)
        return True

    def add_behind(self, tell: Callable[[], None]) -> None:
        """Adds what is told behind the messages that were added before, and perhaps later ones."""
        self._behind.append(tell)

    def write(self) -> None:
        """Writes all frames of a room to each member, as one piece, and tells what is behind."""
        messages = deliveries = 0
        busy = self._metrics.busy
        for room, frame_list in self._rooms.items():
            count = len(frame_list)
            messages += count
            deliveries += count * len(room.members)
            if busy is not None:
                busy[room.room_id] = busy.get(room.room_id, 0) + count
            shared = b"".join(frame_list)
            for client in room.members:
                own = self._personal.get((room, client)) if self._personal else None
                client.write(shared if own is None else _merge(frame_list, own))
            if room.milestones is not None:
                room.note_delivered()
        self._metrics.delivered(messages, deliveries, self._came)
        self._came.clear()
        self._rooms.clear()
        self._personal.clear()
        if self._behind:
            self._tell()

    def _tell(self) -> None:
        behind, self._behind = self._behind, []
        for tell in behind:
            try:
                tell()
            except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
                self._faults.log("not told", error)


def _merge(shared: Sequence[bytes], own: dict[int, bytes]) -> bytes:
    return b"".join(own.get(index, frame) for index, frame in enumerate(shared))
