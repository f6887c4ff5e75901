"""A client's token: authenticated, renewed, expired; and the rooms that it may read.

The server decides (`proxy.core.callers` asks it), and this carries it out for one
connection. A client that came without a token is a guest, and may read each room: the server
takes guests only while it asks nobody for a token.
"""

import asyncio
from datetime import UTC, datetime
from typing import Final

from gen.chat import Authenticated, Left, ServerFrame
from hosting.logs import get_logger
from proxy import errors
from proxy.clients.actions import Type
from proxy.clients.socket import ClientSocket
from proxy.core.client import Client
from proxy.core.switchboard import Switchboard
from proxy.errors import CloseCode, Refused

log = get_logger(__name__)

_LONGEST_TIMER_SECONDS: Final = 3600.0


class Permissions:
    """The permissions of one client."""

    __slots__ = ("_client", "_expiry", "_read_only", "_socket", "_switchboard")

    def __init__(self, client: Client, socket: ClientSocket, switchboard: Switchboard) -> None:
        self._client = client
        self._socket = socket
        self._switchboard = switchboard
        self._expiry: asyncio.TimerHandle | None = None
        # Of the rooms that it is in, those that it may not send to.
        self._read_only: set[str] = set()

    async def authenticate(self, token: str | None) -> None:
        """Sends the token to the server; closes the connection if it is not valid."""
        client = self._client
        if token is None:
            if self._switchboard.tokens_required:
                client.dismiss(errors.unauthenticated())
            else:
                self._switchboard.guests.add(client)
            return
        try:
            client.caller, answer = await self._switchboard.callers.authenticate(
                token, client.dismiss
            )
        except Refused as refused:
            client.dismiss(refused.error)
        else:
            log.debug("client introduced", client=client.caller.number)
            self._expire_at(answer.expires_at)

    async def may_read(self, room_id: str, path: str) -> bool:
        """Returns whether the client may get a room's messages.

        Args:
            room_id: the room.
            path: the field that names it, for an error.

        Raises:
            Refused: the server could not be asked, or does not believe the client.
        """
        caller = self._client.caller
        if caller is None:
            return True
        if not room_id:
            raise Refused(errors.invalid(f"{path}: must not be empty"))
        admitted = await self._switchboard.callers.ask_permissions(caller, room_id)
        self._read_only.discard(room_id)
        if not admitted.may_write:
            self._read_only &= self._client.rooms
            self._read_only.add(room_id)
        return admitted.may_read

    def typist(self, typing: Type) -> str:
        """Returns the user who types, when the client says so.

        Raises:
            Refused: the client may not say that.
        """
        caller, user_id = self._client.caller, typing.user_id
        if caller is None:
            if not user_id:
                raise Refused(errors.invalid("typing.user_id: must not be empty"))
            return user_id
        if user_id and user_id != caller.user_id:
            text = "must be the subject of the token, or left out"
            raise Refused(errors.denied(f"typing.user_id: {text}"))
        if typing.room_id in self._read_only:
            text = "the token does not allow to send to this room"
            raise Refused(errors.denied(f"typing.room_id: {text}"))
        return caller.user_id

    async def renew(self, token: str) -> Authenticated:
        """Sends another token, and leaves the rooms that it does not allow.

        Raises:
            Refused: the server does not believe it, or could not be asked about a room.
        """
        caller = self._client.caller
        if caller is None:
            raise Refused(errors.invalid("authenticate: this connection began without a token"))
        answer = await self._switchboard.callers.renew(caller, token)
        self._expire_at(answer.expires_at)
        await self._leave_forbidden_rooms()
        return answer

    def end(self) -> None:
        """Stops the timer of the token: the connection has ended."""
        if self._expiry is not None:
            self._expiry.cancel()

    async def _leave_forbidden_rooms(self) -> None:
        """Leaves the rooms that may not be read, and those that nobody could be asked about."""
        rooms = self._client.rooms
        unsure = set(rooms)
        try:
            for room_id in tuple(unsure):
                if await self._still_may_read(room_id):
                    unsure.discard(room_id)
        finally:
            for room_id in unsure & rooms:
                self._switchboard.rooms.remove_member(self._client, room_id)
                self._socket.write_frame(ServerFrame(left=Left(room_id)))

    async def _still_may_read(self, room_id: str) -> bool:
        """As `may_read`, but waits if it asks too often: the client did not ask at all."""
        while not self._socket.is_gone:
            try:
                return await self.may_read(room_id, "room_id")
            except Refused as refused:
                if refused.error.retry_after_ms is None:
                    raise
                await asyncio.sleep(refused.error.retry_after_ms / 1000)
        return False

    def _expire_at(self, end: datetime) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        loop = asyncio.get_running_loop()
        rest = min((end - datetime.now(UTC)).total_seconds(), _LONGEST_TIMER_SECONDS)
        self._expiry = loop.call_later(max(rest, 0), self._expire, end)

    def _expire(self, end: datetime) -> None:
        if datetime.now(UTC) < end:
            self._expire_at(end)
        else:
            self._socket.close(CloseCode.TOKEN_EXPIRED, "the token has expired")
