"""The handlers of calls about rooms and their members: thin, they translate."""

from bisect import bisect_right
from typing import Final

import codec
from chat.access.identity import Identity
from chat.api.context import Context
from chat.core.page_tokens import page_token, read_page_token
from chat.core.room_rules import check_ids, check_query, check_room
from chat.core.rules import LARGEST_PAGE
from chat.core.store_errors import or_not_stored, or_unavailable
from chat.errors import InvalidArgument, PermissionDenied
from chat.storage.base import PAGE_BYTES, RoomIds, RoomRow
from chat.storage.rooms import folded, is_found
from gen.chat import (
    ListMembersRequest,
    ListMembersResponse,
    ListRoomsRequest,
    ListRoomsResponse,
    Member,
    RoomSummary,
    SetRoomRequest,
    SetRoomResponse,
)

# How far one call looks: whoever may read few of many rooms, or looks for what few have, gets short
# pages. To take the ids that a token names costs least, to have the store search costs most.
_LOOKS: Final = 16
_LOOK_AT_STORE: Final = 4
_SEARCH: Final = 8
# Of how many rooms one look reads what a list shows: all of it may have to fit into memory.
_ROWS: Final = 50


class RoomCalls:
    """Lists of rooms, what is known of them, and their members."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._hub = context.hub
        self._store = context.hub.store

    async def set_room(self, caller: Identity, request: SetRoomRequest) -> SetRoomResponse:
        """Sets what is known of a room."""
        room = request.room
        check_room(self._context.rules, room, "room")
        if not caller.moderates(room.id):
            raise PermissionDenied("room.id", "only a moderator may set a room")
        await self._context.legacy_ids.check_room(room.id, "room.id")
        setting = self._store.set_room(room, request.if_change)
        return SetRoomResponse(await or_not_stored(setting, "room"))

    async def list_rooms(self, caller: Identity, request: ListRoomsRequest) -> ListRoomsResponse:
        """Lists rooms that the caller may read."""
        limit, user_id = self._check_list(caller, request)
        question = (user_id, str(request.marked), request.query, *request.room_ids)
        after = read_page_token(question, request.page_token, "page_token")
        listing = _Listing(self._context, caller, request, user_id)
        rooms, behind = await listing.page(after[0] if after else "", limit)
        token = page_token(question, (behind, 0)) if behind else ""
        return ListRoomsResponse(rooms, token)

    async def list_members(
        self, caller: Identity, request: ListMembersRequest
    ) -> ListMembersResponse:
        """Lists members of a room, or those who are there now."""
        room_id = request.room_id
        self._context.rules.identifier(room_id, "room_id")
        caller.check_read(room_id, "room_id")
        limit = self._context.rules.page_size(request.page_size, "page_size")
        question = room_id, str(request.present)
        token = read_page_token(question, request.page_token, "page_token")
        after = token[0] if token else ""
        # One more than asked for shows whether there is a further page.
        if request.present:
            found = await self._hub.present.names(room_id, after, limit + 1)
            members = [Member(user_id, True) for user_id in found]
        else:
            found = await or_unavailable(self._store.members(room_id, after, limit + 1))
            is_present = self._hub.present.has
            members = [Member(user_id, is_present(room_id, user_id)) for user_id in found]
        has_more = len(members) > limit
        next_token = page_token(question, (members[limit - 1].user_id, 0)) if has_more else ""
        return ListMembersResponse(members[:limit], next_token)

    def _check_list(self, caller: Identity, request: ListRoomsRequest) -> tuple[int, str]:
        """Checks a request; returns how many rooms are to be listed, and for whom."""
        rules = self._context.rules
        user_id = caller.sender(request.user_id, "user_id")
        if user_id:
            rules.identifier(user_id, "user_id")
        elif request.marked:
            raise InvalidArgument("marked", "needs user_id")
        check_query(request.query, "query")
        check_ids(rules, request.room_ids, "room_ids")
        return rules.page_size(request.page_size, "page_size"), user_id


class _Listing:
    """One page of a list of rooms."""

    def __init__(
        self, context: Context, caller: Identity, request: ListRoomsRequest, user_id: str
    ) -> None:
        self._hub = context.hub
        self._store = context.hub.store
        self._caller = caller
        self._request = request
        self._user_id = user_id
        self._asked = sorted(request.room_ids)
        self._rooms: list[RoomSummary] = []
        self._size = 0

    async def page(self, after: str, limit: int) -> tuple[list[RoomSummary], str]:
        """Returns rooms behind an id, and the id behind which there may be more, or empty."""
        left, begin = _LOOKS, after
        while left > 0:
            begin = after
            found, looks = await self._look(begin)
            left -= looks
            ids = [room_id for room_id in found.ids if room_id in self._caller.reads]
            while ids:
                some, ids = ids[:_ROWS], ids[_ROWS:]
                for row in await or_unavailable(self._store.room_rows(some, self._user_id)):
                    if not self._is_asked_for(row):
                        continue
                    # Full, and there is another one.
                    if len(self._rooms) == limit or not self._add(row):
                        return self._rooms, self._rooms[-1].room.id
                if len(self._rooms) == limit:
                    break
            if len(self._rooms) == limit:
                is_last = not ids and not found.after
                return self._rooms, "" if is_last else self._rooms[-1].room.id
            after = found.after
            if not after:
                return self._rooms, ""
        if after in self._caller.reads:
            return self._rooms, after
        # The caller may read what its page token says. What was looked at last began at a place
        # that it may know, and has taken the page further if anything was found.
        return self._rooms, max(begin, self._rooms[-1].room.id if self._rooms else "")

    async def _look(self, after: str) -> tuple[RoomIds, int]:
        """Returns ids that come next, and how many looks that took."""
        request = self._request
        if self._asked:
            return RoomIds(self._asked[bisect_right(self._asked, after) :], ""), 1
        named = self._caller.reads.behind(after)
        if named is not None:
            # Behind the last of them there may be others.
            ids = list(named[:LARGEST_PAGE])
            return RoomIds(ids, ids[-1] if ids else ""), 1
        marked_by = self._user_id if request.marked else ""
        reading = self._store.room_ids(after, LARGEST_PAGE, request.query, marked_by)
        looks = _SEARCH if request.query or marked_by else _LOOK_AT_STORE
        return await or_unavailable(reading), looks

    def _is_asked_for(self, row: RoomRow) -> bool:
        """Whether the request is for a room: of those that it, or a token, names, not all are."""
        request = self._request
        is_known = row.last_message is not None or row.room.change
        if not (is_known or request.room_ids):
            return False
        if request.marked and row.mark is None:
            return False
        return not request.query or is_found(folded(request.query), row.room.id, row.room.title)

    def _add(self, row: RoomRow) -> bool:
        """Adds a room, unless the page has as much text as it may."""
        summary = RoomSummary(
            room=row.room,
            last_seq=0 if row.last_message is None else row.last_message.seq,
            mark=row.mark,
            last_message=row.last_message,
            present=self._hub.present.count(row.room.id),
            members=row.members,
        )
        self._size += len(codec.encode(summary))
        if self._rooms and self._size > PAGE_BYTES:
            return False
        self._rooms.append(summary)
        return True
