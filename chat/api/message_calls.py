"""The handlers of calls about messages that are there already: thin, they translate."""

from typing import Final

from chat.access.identity import Identity
from chat.api.context import Context
from chat.core.store_errors import not_stored, or_unavailable
from chat.errors import FailedPrecondition
from chat.storage.base import StoreError
from chat.storage.changes import Change
from gen.chat import (
    ChangeMessageRequest,
    ChangeMessageResponse,
    EraseUserRequest,
    EraseUserResponse,
    GetChangesRequest,
    GetChangesResponse,
    ListReactionsRequest,
    ListReactionsResponse,
    MarkReadRequest,
    MarkReadResponse,
)

_ERASE_STEP: Final = 500


class MessageCalls:
    """Changes, reactions, read marks and erasures."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.hub.store

    async def change_message(
        self, caller: Identity, request: ChangeMessageRequest
    ) -> ChangeMessageResponse:
        """Edits, deletes, pins or reacts to a message."""
        caller.check_read(request.room_id, "room_id")
        request.user_id = caller.sender(request.user_id, "user_id")
        try:
            message = await self._store.change(Change(request, is_moderator=caller.is_admin))
        except StoreError as error:
            raise not_stored(error) from error
        return ChangeMessageResponse(message)

    async def get_changes(self, caller: Identity, request: GetChangesRequest) -> GetChangesResponse:
        """Returns what changed in a room."""
        caller.check_read(request.room_id, "room_id")
        page = await or_unavailable(
            self._store.changes(request.room_id, request.after_change, request.limit or 50)
        )
        return GetChangesResponse(page.changes, page.has_more, self._store.epoch)

    async def list_reactions(
        self, caller: Identity, request: ListReactionsRequest
    ) -> ListReactionsResponse:
        """Lists who reacted to a message."""
        caller.check_read(request.room_id, "room_id")
        raise NotImplementedError

    async def mark_read(self, caller: Identity, request: MarkReadRequest) -> MarkReadResponse:
        """Notes how far a user has read a room."""
        caller.check_read(request.room_id, "room_id")
        if request.epoch not in (None, self._store.epoch):
            raise FailedPrecondition("epoch: the room has another history now")
        user_id = caller.sender(request.user_id, "user_id")
        try:
            mark = await self._store.mark(user_id, request.room_id, request.seq, back=request.back)
        except StoreError as error:
            raise not_stored(error) from error
        return MarkReadResponse(mark)

    async def erase_user(self, caller: Identity, request: EraseUserRequest) -> EraseUserResponse:
        """Erases all that is stored of a user."""
        caller.check_owner(request.user_id, "user_id")
        erased = await self._store.erase(request.user_id, _ERASE_STEP)
        return EraseUserResponse(erased.messages, erased.done)
