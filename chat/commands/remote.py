"""An erasure by a running server, over gRPC."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from grpclib import GRPCError
from grpclib.client import Channel
from grpclib.exceptions import StreamTerminatedError

from gen.chat import ChatServiceStub, EraseUserRequest
from hosting.addresses import address_text
from hosting.command import StartError
from hosting.tls import Tls

_CALL_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Server:
    """A chat server.

    Attributes:
        token_file: the file with an admin's token.
        tls: with TLS; `None` without.
    """

    host: str
    port: int
    token_file: Path
    tls: Tls | None


def erase_remotely(server: Server, user_id: str, say: Callable[[int], None]) -> int:
    """Lets a server erase a user, and returns when it is done.

    Args:
        server: the server.
        user_id: the user.
        say: is told how many messages were erased so far.

    Returns:
        How many messages were erased.

    Raises:
        StartError: it could not; the text says why, in one line.
    """
    try:
        token = server.token_file.read_text("ascii").strip()
    except (OSError, UnicodeError) as error:
        raise StartError(f"{server.token_file}: cannot read the token: {error}") from error
    where = address_text(server.host, server.port)
    try:
        return asyncio.run(_erase(server, token, user_id, say))
    except GRPCError as error:
        raise StartError(f"{where} answered {error.status.name}: {error.message}") from error
    except (OSError, StreamTerminatedError) as error:
        raise StartError(f"{where} cannot be asked: {error}") from error


async def _erase(server: Server, token: str, user_id: str, say: Callable[[int], None]) -> int:
    context = None if server.tls is None else server.tls.for_http2().context
    messages = 0
    async with Channel(server.host, server.port, ssl=context) as channel:
        stub = ChatServiceStub(
            channel, timeout=_CALL_SECONDS, metadata={"authorization": f"Bearer {token}"}
        )
        while True:
            answer = await stub.erase_user(EraseUserRequest(user_id=user_id))
            messages += answer.messages
            if answer.done:
                return messages
            say(messages)
