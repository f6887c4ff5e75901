"""The handlers of calls about messages that are there already: thin, they translate."""

from itertools import groupby
from typing import Final

from chat.access.identity import Identity
from chat.api.changing import admit_change, admit_user, make_change
from chat.api.context import Context
from chat.core.extras import check_position
from chat.core.marking import Wish
from chat.core.page_tokens import page_token, read_page_token
from chat.core.store_errors import or_not_stored, or_unavailable
from chat.errors import FailedPrecondition, NotFound
from chat.storage.base import Range, ReactionRow
from chat.storage.changes import state_of
from gen.chat import (
    ChangeMessageRequest,
    ChangeMessageResponse,
    ChatMessage,
    EraseUserRequest,
    EraseUserResponse,
    GetChangesRequest,
    GetChangesResponse,
    ListReactionsRequest,
    ListReactionsResponse,
    MarkReadRequest,
    MarkReadResponse,
    Reaction,
)

# How long a call may wait for an erasure: proxies give it 10 seconds.
_ERASE_SECONDS: Final = 5.0


class MessageCalls:
    """Changes, reactions, read marks and erasures."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.hub.store

    async def change_message(
        self, caller: Identity, request: ChangeMessageRequest
    ) -> ChangeMessageResponse:
        """Edits, deletes, pins or reacts to a message."""
        change = await admit_change(self._context, caller, request)
        return ChangeMessageResponse(await make_change(self._context, change))

    async def get_changes(self, caller: Identity, request: GetChangesRequest) -> GetChangesResponse:
        """Returns what changed in a room."""
        self._check_room(caller, request.room_id)
        limit = self._context.rules.page_size(request.limit, "limit")
        page = await or_unavailable(
            self._store.changes(request.room_id, request.after_change, limit)
        )
        return GetChangesResponse(page.changes, page.has_more, self._store.epoch)

    async def list_reactions(
        self, caller: Identity, request: ListReactionsRequest
    ) -> ListReactionsResponse:
        """Lists who reacted to a message."""
        room_id, seq, user_id = request.room_id, request.seq, request.user_id
        self._check_room(caller, room_id)
        check_position(seq, "seq")
        if user_id:
            self._context.rules.identifier(user_id, "user_id")
        limit = self._context.rules.page_size(request.page_size, "page_size")
        question = room_id, str(seq), user_id
        after = read_page_token(question, request.page_token, "page_token")
        message = await self._message(room_id, seq)
        # One more than asked for shows whether there is a further page.
        rows = await or_unavailable(self._store.reactions(room_id, seq, user_id, after, limit + 1))
        page = rows[:limit]
        token = page_token(question, page[-1][:2]) if len(rows) > limit else ""
        # Of one user, each kind is counted once.
        counted = None if user_id else message
        return ListReactionsResponse(_reactions(page, counted), token)

    async def mark_read(self, caller: Identity, request: MarkReadRequest) -> MarkReadResponse:
        """Notes how far a user has read a room."""
        self._check_room(caller, request.room_id)
        self._check_epoch(request)
        user_id = await admit_user(self._context, caller, request.user_id)
        if request.seq or request.back:
            wish = Wish(request.seq, request.back)
            marking = self._context.marking.mark(user_id, request.room_id, wish)
        else:
            marking = self._store.mark(user_id, request.room_id, 0, back=False)
        mark = await or_not_stored(marking, "read mark")
        # It may have become another one while the mark waited for its turn.
        self._check_epoch(request)
        return MarkReadResponse(mark)

    async def erase_user(self, caller: Identity, request: EraseUserRequest) -> EraseUserResponse:
        """Erases all that is stored of a user."""
        self._context.rules.identifier(request.user_id, "user_id")
        caller.check_admin("user_id")
        erasing = self._context.erasing.erase(request.user_id, _ERASE_SECONDS)
        erased = await or_not_stored(erasing, "erasure")
        return EraseUserResponse(erased.messages, erased.done)

    def _check_room(self, caller: Identity, room_id: str) -> None:
        self._context.rules.identifier(room_id, "room_id")
        caller.check_read(room_id, "room_id")

    def _check_epoch(self, request: MarkReadRequest) -> None:
        if request.epoch not in (None, self._store.epoch):
            raise FailedPrecondition("epoch: the room has another history now")

    async def _message(self, room_id: str, seq: int) -> ChatMessage:
        span = Range(1, before_seq=seq + 1, after_seq=seq - 1)
        page = await or_unavailable(self._store.history(room_id, span))
        if not page.messages:
            raise NotFound(f"seq: room {room_id} has no message {seq}")
        return page.messages[0]


def _reactions(rows: list[ReactionRow], message: ChatMessage | None) -> list[Reaction]:
    """Groups a page by kind.

    Args:
        rows: in their order.
        message: has the counts of all pages; without it those of this page are given.
    """
    state = state_of(message) if message is not None else None
    counts = {each.emoji: each.count for each in state.reactions} if state is not None else {}
    grouped = []
    for emoji, of_kind in groupby(rows, key=lambda row: row.emoji):
        users = [row.user_id for row in of_kind]
        # Some may have come since the message was read.
        grouped.append(Reaction(emoji, max(counts.get(emoji, 0), len(users)), users))
    return grouped
