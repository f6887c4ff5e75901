"""Pages of a room's history and of its changes, read as a client and paid for by it."""

import asyncio
from typing import Final, TypeVar

import betterproto

from gen.chat import (
    ChatMessage,
    GetChangesRequest,
    GetChangesResponse,
    GetChatHistoryRequest,
    GetChatHistoryResponse,
)
from hosting.logs import get_logger
from proxy.clients.context import Context
from proxy.clients.session import Session
from proxy.clients.socket import ClientSocket
from proxy.core.call_table import CHANGES_CALL, HISTORY_CALL
from proxy.core.client import Client
from proxy.errors import Refused

log = get_logger(__name__)

_Page = TypeVar("_Page", bound=betterproto.Message)

# While the client is made to wait, it is noticed so soon that it is gone.
_PAY_SECONDS: Final = 1.0
# So many messages are read at a time.
_PAGE: Final = 100


class Pages:
    """The pages of one room, for one client on its way into it."""

    __slots__ = ("_client", "_context", "_room_id", "_session", "_socket")

    def __init__(
        self, context: Context, client: Client, socket: ClientSocket, session: Session, room_id: str
    ) -> None:
        self._context = context
        self._client = client
        self._socket = socket
        self._session = session
        self._room_id = room_id

    # What is missed. The client was told that it is in the room, so it will be: it can page
    # through what could not be read later.

    async def messages(self, epoch: str, cursor: int, last_seq: int) -> list[ChatMessage]:
        """Returns messages behind a position, up to another one.

        There are none if they cannot be read, or are of another epoch: the server may tell
        of that here before it does on the stream.
        """
        request = GetChatHistoryRequest(
            self._room_id, _PAGE, before_seq=last_seq + 1, after_seq=cursor
        )
        await self._pay()
        try:
            page = await self._ask_history(request)
        except Refused as refused:
            self._give_up(refused)
            return []
        self._context.metrics.replayed += len(page.messages)
        self._session.charge_history(len(page.messages))
        return page.messages if page.epoch == epoch else []

    async def changes(self, epoch: str, change: int) -> GetChangesResponse | None:
        """Returns what changed behind a change; `None` for the same reasons."""
        await self._pay()
        try:
            page = await self._ask_changes(GetChangesRequest(self._room_id, change, _PAGE))
        except Refused as refused:
            self._give_up(refused)
            return None
        changed = len(page.changes.messages)
        self._context.metrics.replayed_changes += changed
        self._session.charge_history(changed)
        return page if page.epoch == epoch else None

    # What the client has had from another proxy.

    async def has_message(self, epoch: str, seq: int) -> bool:
        """Returns whether the server has a position.

        Raises:
            Refused: it could not be asked.
        """
        request = GetChatHistoryRequest(self._room_id, 1, after_seq=seq - 1)
        page = await self._ask_history(request)
        return page.epoch == epoch and [message.seq for message in page.messages] == [seq]

    async def has_change(self, epoch: str, change: int) -> bool:
        """Returns whether the server has a change.

        Raises:
            Refused: it could not be asked.
        """
        page = await self._ask_changes(GetChangesRequest(self._room_id, change - 1, 1))
        # One page of one message may end before the room's newest change, not before the first.
        return page.epoch == epoch and page.changes.last_change >= change

    async def _ask_history(self, request: GetChatHistoryRequest) -> GetChatHistoryResponse:
        return await self._ask(HISTORY_CALL, request, GetChatHistoryResponse)

    async def _ask_changes(self, request: GetChangesRequest) -> GetChangesResponse:
        return await self._ask(CHANGES_CALL, request, GetChangesResponse)

    async def _ask(self, field: str, request: betterproto.Message, kind: type[_Page]) -> _Page:
        call = self._context.calls[field]
        page = await self._context.make_call(call, request, self._client.caller)
        if not isinstance(page, kind):
            raise TypeError(f"the answer to {field} is a {type(page).__name__}")
        return page

    async def _pay(self) -> None:
        """Waits until the client has paid for the pages before, as long as it is there."""
        seconds = self._session.history_wait()
        while seconds > 0 and not self._socket.is_gone:
            await asyncio.sleep(min(seconds, _PAY_SECONDS))
            seconds -= _PAY_SECONDS

    def _give_up(self, refused: Refused) -> None:
        log.warning("replay given up", room_id=self._room_id, reason=str(refused))
