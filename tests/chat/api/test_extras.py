"""What a message has beside its text, as both doors let it in; without keys."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

import chat
from gen.chat import (
    ChangeMessageRequest,
    ChatMessage,
    ChatServiceStub,
    Delete,
    GetChatHistoryRequest,
    MessageExtra,
    MessageState,
    RelayCommand,
)
from tests.support import ChatCall, RelayCall, message

LARGEST = 2**32 - 1
STATE = MessageState(change=1, pinned=True)
# What is refused in a room of three messages.
WRONG = {
    "reply_to: must be at least 1": MessageExtra(reply_to=0),
    "reply_to: the room has no message 4": MessageExtra(reply_to=4),
    f"reply_to: the room has no message {LARGEST}": MessageExtra(reply_to=LARGEST),
    "mentions: must have at most 50 users": MessageExtra(mentions=list(map(str, range(51)))),
    "mentions: must have each user once": MessageExtra(mentions=["bob", "bob"]),
    "mentions[1]: must not be empty": MessageExtra(mentions=["bob", ""]),
    "data: must not contain NUL": MessageExtra(data="\0"),
    "data: must have at most 4096 bytes of UTF-8": MessageExtra(data="x" * 4097),
}


@pytest.fixture
def chat_config() -> chat.Config:
    return chat.Config(host="127.0.0.1", port=0, database=chat.IN_MEMORY)


@pytest.fixture
async def call(stub: ChatServiceStub) -> AsyncIterator[ChatCall]:
    """A stream of which three messages of ada are in the room."""
    async with ChatCall(stub) as call:
        for _ in range(3):
            await call.post(message())
        yield call


def with_extra(extra: MessageExtra, room_id: str = "room") -> ChatMessage:
    return replace(message(room_id), extra=extra)


async def newest(stub: ChatServiceStub) -> ChatMessage:
    [stored] = (await stub.get_chat_history(GetChatHistoryRequest("room", 1))).messages
    return stored


async def test_extra_is_stored_as_it_was_sent(stub: ChatServiceStub, call: ChatCall) -> None:
    extra = MessageExtra(reply_to=3, mentions=["bob"], mentions_room=True, data="{}")
    stored = await call.post(with_extra(extra))
    assert stored.extra == extra
    assert await newest(stub) == stored


async def test_wrong_extra_is_refused(call: ChatCall) -> None:
    for told, extra in WRONG.items():
        call.say(with_extra(extra), "1")
        answer = await call.receive()
        assert (answer.error.message, answer.request_id) == (f"chat_message.extra.{told}", "1")
    assert (await call.post(message())).seq == 4


@pytest.mark.usefixtures("call")
async def test_wrong_extra_is_refused_at_the_other_door(
    relay: RelayCall, stub: ChatServiceStub
) -> None:
    """Each alone: those beside it in the batch are stored, in their order."""
    extras = [*WRONG.values(), MessageExtra(reply_to=1), MessageExtra(state=STATE)]
    commands = [
        RelayCommand(ref=number, chat_message=with_extra(extra))
        for number, extra in enumerate(extras, 1)
    ]
    relay.batch(RelayCommand(ref=99, chat_message=message()), *commands)
    events = {event.ref: event for event in await relay.events(len(extras) + 1)}
    refused = [events[ref].error.message for ref in range(1, len(WRONG) + 1)]
    assert refused == [f"chat_message.extra.{told}" for told in WRONG]
    stored = [events[ref].chat_message for ref in (99, len(WRONG) + 1, len(WRONG) + 2)]
    assert [each.seq for each in stored] == [4, 5, 6]
    assert stored[1].extra == MessageExtra(reply_to=1)
    assert stored[2].held_extra is None
    assert await newest(stub) == stored[2]


async def test_reply_to_a_room_that_nobody_is_in(stub: ChatServiceStub, call: ChatCall) -> None:
    """The store is asked."""
    call.leave("room")
    await call.receive()
    async with ChatCall(stub) as other:
        assert (await other.post(with_extra(MessageExtra(reply_to=3)))).seq == 4
        other.say(with_extra(MessageExtra(reply_to=1), "elsewhere"))
        told = (await other.receive()).error.message
        assert told == "chat_message.extra.reply_to: the room has no message 1"


async def test_deleted_message_may_be_answered(stub: ChatServiceStub, call: ChatCall) -> None:
    await stub.change_message(ChangeMessageRequest("room", 1, "ada", delete=Delete()))
    assert (await call.post(with_extra(MessageExtra(reply_to=1)))).extra.reply_to == 1


async def test_empty_extra_becomes_none(stub: ChatServiceStub, call: ChatCall) -> None:
    for extra in (MessageExtra(), MessageExtra(state=STATE)):
        stored = await call.post(with_extra(extra))
        assert stored.held_extra is None
        assert await newest(stub) == stored
