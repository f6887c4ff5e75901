"""How clients of a target open their connections, and frame what they say."""

from dataclasses import dataclass
from typing import Final

from aiohttp import WSMsgType

from tests.kit.web import handshake, masked


@dataclass(frozen=True, slots=True)
class Dialect:
    """A way to speak over a WebSocket.

    Attributes:
        path: the path of the handshake.
        greeting: what a client says before it joins, each with the beginning of the answer.
        event: the text of a frame, with `NAME` and `VALUE` in it.
    """

    path: str
    greeting: tuple[tuple[str, bytes], ...]
    event: str

    def handshake(self, host: str, bearer: str | None) -> bytes:
        """The request that opens a WebSocket."""
        request = handshake(Host=host, Authorization=bearer)
        return request.replace(b"GET / ", f"GET {self.path} ".encode(), 1)

    def text(self, name: str, value: str) -> str:
        """The text of a frame.

        Args:
            name: what it is, such as ``join``.
            value: a JSON object.
        """
        return self.event.replace("NAME", name).replace("VALUE", value)

    def steps(self, room_id: str, *, follow: bool = False) -> list[tuple[bytes, bytes]]:
        """The frames up to that which joins a room, each with what has to be heard before it.

        Args:
            room_id: the room.
            follow: whether its changes are followed.
        """
        heard = [b"\r\n\r\n", *(answer for _, answer in self.greeting)]
        further = ',"follow":["CHANGES"]' if follow else ""
        join = self.text("join", f'{{"room_id":"{room_id}"{further}}}')
        texts = [*(said for said, _ in self.greeting), join]
        frames = [masked(WSMsgType.TEXT, text.encode()) for text in texts]
        return list(zip(heard, frames, strict=True))


PLAIN: Final = "plain"
SOCKET_IO: Final = "socket.io"

DIALECTS: Final = {
    # The project's own, which the peers speak too.
    PLAIN: Dialect("/", (), '{"NAME":VALUE}'),
    # Packets of Engine.IO (4, a message) around packets of Socket.IO (0 connects, 2 is an event).
    SOCKET_IO: Dialect(
        "/socket.io/?EIO=4&transport=websocket", (("40", b"40{"),), '42["NAME",VALUE]'
    ),
}
