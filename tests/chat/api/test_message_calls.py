"""Calls about messages that are there already, over a real connection, without keys."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

import chat
from chat.core.page_tokens import page_token
from gen.chat import (
    ChangeMessageRequest,
    ChatServiceStub,
    Delete,
    EraseUserRequest,
    GetChangesRequest,
    GetChatHistoryRequest,
    ListReactionsRequest,
    MarkReadRequest,
    Reaction,
)
from tests.chat.in_memory import in_memory
from tests.chat.served import served
from tests.support import ChatCall, eventually, message, refusal

LARGEST = 2**32 - 1
EACH: list[dict[str, Any]] = [
    {"content": "x"},
    {"react": "x"},
    {"pinned": True},
    {"delete": Delete()},
]


@pytest.fixture
def chat_config() -> chat.Config:
    return chat.Config(host="127.0.0.1", port=0, database=chat.IN_MEMORY, rates=chat.Rates())


@pytest.fixture
async def call(stub: ChatServiceStub) -> AsyncIterator[ChatCall]:
    """A stream of which three messages of ada are in the room."""
    async with ChatCall(stub) as call:
        for number in (1, 2, 3):
            await call.post(message(content=f"text {number}", key=str(number)))
        yield call


async def change(stub: ChatServiceStub, seq: int, user_id: str = "ada", **asked: Any) -> Any:
    request = ChangeMessageRequest("room", seq, user_id, **asked)
    return (await stub.change_message(request)).message


@pytest.mark.usefixtures("call")
class TestChangeMessage:
    """`ChangeMessage`."""

    async def test_edit_is_in_the_history(self, stub: ChatServiceStub) -> None:
        edited = await change(stub, 2, content="better")
        page = await stub.get_chat_history(GetChatHistoryRequest("room"))
        assert page.messages[1] == edited
        assert (edited.id, edited.seq, edited.content) == ("2", 2, "better")
        assert page.last_change == edited.extra.state.change == 1

    async def test_unchanged_room_has_no_last_change(self, stub: ChatServiceStub) -> None:
        page = await stub.get_chat_history(GetChatHistoryRequest("room"))
        assert page.last_change is None

    async def test_stale_edit_is_refused_unless_it_holds(self, stub: ChatServiceStub) -> None:
        await change(stub, 1, content="from a phone", if_change=0)
        told = await refusal(change(stub, 1, content="from a laptop", if_change=0))
        assert told == "FAILED_PRECONDITION: if_change: the message has change 1, not 0"
        again = await change(stub, 1, content="from a phone", if_change=0)
        assert again.extra.state.change == 1

    async def test_unknown_message_is_not_found(self, stub: ChatServiceStub) -> None:
        for room_id, seq in (("room", 4), ("room", LARGEST), ("nowhere", 1), ("no  room", 1)):
            for asked in EACH:
                request = ChangeMessageRequest(room_id, seq, "ada", **asked)
                told = await refusal(stub.change_message(request))
                assert told == f"NOT_FOUND: seq: room {room_id} has no message {seq}"

    async def test_deleted_message_is_not_changed(self, stub: ChatServiceStub) -> None:
        await change(stub, 1, delete=Delete())
        for asked in EACH[:-1]:
            told = await refusal(change(stub, 1, **asked))
            assert told == "FAILED_PRECONDITION: seq: the message was deleted"
        holds: list[dict[str, Any]] = [{"unreact": "x"}, {"pinned": False}, {"delete": Delete()}]
        for asked in holds:
            assert (await change(stub, 1, **asked)).extra.state.change == 1

    async def test_guest_is_who_it_says(self, stub: ChatServiceStub) -> None:
        told = await refusal(change(stub, 1, "bob", content="x"))
        assert told == "PERMISSION_DENIED: content: only the sender may edit a message"
        assert (await change(stub, 1, "bob", pinned=True)).extra.state.pinned
        assert (await change(stub, 1, "bob", delete=Delete())).extra.state.deleted_by == "bob"

    async def test_refusals_name_the_field(self, stub: ChatServiceStub) -> None:
        for request, told in (
            (ChangeMessageRequest("", 1, "ada", react="x"), "room_id: must not be empty"),
            (ChangeMessageRequest("room", 1, react="x"), "user_id: must not be empty"),
            (
                ChangeMessageRequest("room", 1, "a\0", react="x"),
                "user_id: must not contain control characters",
            ),
            (
                ChangeMessageRequest("room", 1, "ada\u200b", react="x"),
                "user_id: must not contain invisible characters",
            ),
            (
                ChangeMessageRequest("room", 1, "ada"),
                "change: expected one of content, delete, react, unreact, pinned",
            ),
        ):
            assert await refusal(stub.change_message(request)) == f"INVALID_ARGUMENT: {told}"
        assert (await stub.get_changes(GetChangesRequest("room"))).changes.last_change == 0


@pytest.mark.usefixtures("call")
class TestGetChanges:
    """`GetChanges`."""

    async def test_pages_chain(self, stub: ChatServiceStub) -> None:
        for seq in (1, 2, 3, 1):
            await change(stub, seq, content=f"better than {seq}")
            await change(stub, seq, react="x")
            await change(stub, seq, unreact="x")
        spans, told, after = [], [], 0
        while True:
            page = await stub.get_changes(GetChangesRequest("room", after, 1))
            assert page.epoch == (await stub.get_chat_history(GetChatHistoryRequest("room"))).epoch
            spans.append((page.changes.after_change, page.changes.last_change))
            told += [each.seq for each in page.changes.messages]
            after = page.changes.last_change
            if not page.has_more:
                break
        assert told == [2, 3, 1]
        # The second edit of the first message changed nothing.
        assert spans == [(0, 6), (6, 9), (9, 11)]

    async def test_nothing_changed(self, stub: ChatServiceStub) -> None:
        for room_id in ("room", "nowhere", "no  room"):
            page = await stub.get_changes(GetChangesRequest(room_id))
            assert (page.changes.room_id, page.changes.last_change) == (room_id, 0)
            assert (page.changes.messages, page.has_more) == ([], False)

    async def test_position_may_be_beyond_the_end(self, stub: ChatServiceStub) -> None:
        await change(stub, 1, react="x")
        page = await stub.get_changes(GetChangesRequest("room", LARGEST))
        assert (page.changes.messages, page.has_more) == ([], False)

    async def test_refusals_name_the_field(self, stub: ChatServiceStub) -> None:
        for request, told in (
            (GetChangesRequest(""), "room_id: must not be empty"),
            (GetChangesRequest("a\nb"), "room_id: must not contain control characters"),
            (GetChangesRequest("room", limit=-1), "limit: must not be negative"),
        ):
            assert await refusal(stub.get_changes(request)) == f"INVALID_ARGUMENT: {told}"


@pytest.mark.usefixtures("call")
class TestListReactions:
    """`ListReactions`."""

    async def test_pages_have_everybody_once(self, stub: ChatServiceStub) -> None:
        users = [f"user {number}" for number in range(7)]
        for user_id in users:
            await change(stub, 1, user_id, react="👍")
        for user_id in users[:3]:
            await change(stub, 1, user_id, react="!")
        pages, token = [], ""
        while True:
            request = ListReactionsRequest("room", 1, page_size=4, page_token=token)
            page = await stub.list_reactions(request)
            pages.append(page.reactions)
            token = page.next_page_token
            if not token:
                break
        assert pages == [
            [Reaction("!", 3, users[:3]), Reaction("👍", 7, users[:1])],
            [Reaction("👍", 7, users[1:5])],
            [Reaction("👍", 7, users[5:])],
        ]

    async def test_those_of_one_user(self, stub: ChatServiceStub) -> None:
        for user_id, emoji in (("ada", "a"), ("bob", "a"), ("bob", "b")):
            await change(stub, 1, user_id, react=emoji)
        page = await stub.list_reactions(ListReactionsRequest("room", 1, "bob", page_size=1))
        assert page.reactions == [Reaction("a", 1, ["bob"])]
        request = ListReactionsRequest("room", 1, "bob", page_token=page.next_page_token)
        page = await stub.list_reactions(request)
        assert (page.reactions, page.next_page_token) == ([Reaction("b", 1, ["bob"])], "")
        page = await stub.list_reactions(ListReactionsRequest("room", 1, "eve"))
        assert (page.reactions, page.next_page_token) == ([], "")

    async def test_refusals_name_the_field(self, stub: ChatServiceStub) -> None:
        for request, told in (
            (ListReactionsRequest("", 1), "INVALID_ARGUMENT: room_id: must not be empty"),
            (ListReactionsRequest("room"), "INVALID_ARGUMENT: seq: must be at least 1"),
            (ListReactionsRequest("room", 4), "NOT_FOUND: seq: room room has no message 4"),
            (
                ListReactionsRequest("room", LARGEST),
                f"NOT_FOUND: seq: room room has no message {LARGEST}",
            ),
            (
                ListReactionsRequest("room", 1, "x" * 65),
                "INVALID_ARGUMENT: user_id: must have at most 64 characters",
            ),
            (
                ListReactionsRequest("room", 1, page_size=-1),
                "INVALID_ARGUMENT: page_size: must not be negative",
            ),
        ):
            assert await refusal(stub.list_reactions(request)) == told

    async def test_wrong_token_is_refused(self, stub: ChatServiceStub) -> None:
        for token in (
            "x",
            "é",
            "AAAA",
            "A" * 60_000,
            "////",
            page_token(("room", "2", ""), ("x", 1)),
            page_token(("room", "1", "ada"), ("x", 1)),
            page_token(("room", "1", ""), ("x", 1)) + "A",
            page_token(("room", "1", ""), ("x", 1)) + "=",
            page_token(("room", "1", ""), ("x", 1))[:-4],
        ):
            request = ListReactionsRequest("room", 1, page_token=token)
            assert await refusal(stub.list_reactions(request)) == (
                "INVALID_ARGUMENT: page_token: must be the next_page_token of an answer to the "
                "same request, or empty"
            )


@pytest.mark.usefixtures("call")
class TestMarkRead:
    """`MarkRead`."""

    async def test_mark_goes_forward_unless_told(self, stub: ChatServiceStub) -> None:
        async def mark(seq: int, *, back: bool = False) -> int:
            request = MarkReadRequest("room", seq, "bob", back=back)
            return int((await stub.mark_read(request)).mark.seq)

        assert await mark(0) == 0
        assert await mark(2) == 2
        # Within one second: each waits for the same mark.
        answers = asyncio.gather(mark(LARGEST), mark(1, back=True))
        assert await mark(0) == 2
        assert set(await answers) in ({1}, {3})

    async def test_epoch_is_compared(self, stub: ChatServiceStub) -> None:
        epoch = (await stub.get_chat_history(GetChatHistoryRequest("room"))).epoch
        assert (await stub.mark_read(MarkReadRequest("room", 1, "bob", epoch))).mark.seq == 1
        for other in ("", "another"):
            told = await refusal(stub.mark_read(MarkReadRequest("room", 3, "bob", other)))
            assert told == "FAILED_PRECONDITION: epoch: the room has another history now"
        assert (await stub.mark_read(MarkReadRequest("room", 0, "bob"))).mark.seq == 1

    async def test_refusals_name_the_field(self, stub: ChatServiceStub) -> None:
        for request, told in (
            (MarkReadRequest("", 1, "bob"), "room_id: must not be empty"),
            (MarkReadRequest("room", 1), "user_id: must not be empty"),
            (MarkReadRequest("room", 0), "user_id: must not be empty"),
            (MarkReadRequest("room", 1, "x" * 65), "user_id: must have at most 64 characters"),
            (
                MarkReadRequest("room", 1, "b\u2066ob"),
                "user_id: must not contain invisible characters",
            ),
        ):
            assert await refusal(stub.mark_read(request)) == f"INVALID_ARGUMENT: {told}"


@pytest.mark.usefixtures("call")
async def test_guests_erase_nobody(stub: ChatServiceStub) -> None:
    told = await refusal(stub.erase_user(EraseUserRequest("ada")))
    assert told == "PERMISSION_DENIED: user_id: only an admin may erase a user"
    told = await refusal(stub.erase_user(EraseUserRequest("")))
    assert told == "INVALID_ARGUMENT: user_id: must not be empty"


async def test_waiting_marks_are_counted() -> None:
    context = await in_memory()
    async with served(context) as channel:
        stub = ChatServiceStub(channel)
        async with ChatCall(stub) as call:
            for _ in range(3):
                await call.post(message())
        await stub.mark_read(MarkReadRequest("room", 1, "bob"))
        asked = [MarkReadRequest("room", seq, "bob") for seq in (2, 3)]
        stays, leaves = (asyncio.create_task(stub.mark_read(each)) for each in asked)
        await eventually(lambda: context.metrics.marks_waiting == 2)
        leaves.cancel()
        assert (await stays).mark.seq == 3
        await eventually(lambda: context.metrics.marks_waiting == 0)
        assert context.metrics.marks_shared == 1
