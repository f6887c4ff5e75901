"""A replay of changes, while the proxy hears of more."""

import codec
from gen.chat import (
    GetChangesResponse,
    Joined,
    MessageChange,
    MessageState,
    RoomChanges,
    ServerFrame,
)
from proxy.clients.pages import Pages
from proxy.clients.replay import Replay
from proxy.clients.socket import ClientSocket
from proxy.clients.turns import Turns, Work
from proxy.core.room import Room
from tests.proxy.relay_model import Guest


class AheadPages(Pages):
    """The server has changed the only message three times more than it has told."""

    def __init__(self) -> None:
        pass

    async def changes(self, epoch: str, change: int) -> GetChangesResponse:
        changed = MessageChange(1, "new", MessageState(change=8))
        return GetChangesResponse(RoomChanges("room", change, 8, [changed]), False, epoch)


class SlowSocket(ClientSocket):
    """While it writes, the proxy is told what the server has changed."""

    def __init__(self, room: Room) -> None:
        self.told: list[RoomChanges] = []
        self._room = room

    @property
    def is_gone(self) -> bool:
        return False

    async def send_and_wait(self, payload: bytes) -> None:
        told = codec.from_json(ServerFrame, payload).payload
        assert isinstance(told, RoomChanges)
        self.told.append(told)
        self._room.last_change = 8


async def test_spans_of_a_replay_chain_with_what_comes_live() -> None:
    room = Room("room")
    room.joined(Joined("room", "epoch", 1, recovered=False, last_change=5))
    socket = SlowSocket(room)
    replay = Replay(Guest(), socket, room, AheadPages(), Work(Turns()), limit=100)
    assert await replay.run(1, 0)
    spans = [(each.after_change, each.last_change) for each in socket.told]
    assert spans == [(0, 5), (5, 8)]
    assert [each.content for span in socket.told for each in span.messages] == ["new"]
