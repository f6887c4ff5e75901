"""Who is there and who types, as both doors tell it; without keys."""

from typing import Any, Final

import pytest

import chat
from chat.api.typing_turns import TURN_SECONDS, TypingTurns
from gen.chat import (
    ChatServiceStub,
    ChatStream,
    ErrorCode,
    GetChatHistoryRequest,
    Join,
    JoinFollow,
    Leave,
    ListMembersRequest,
    ListRoomsRequest,
    RelayCommand,
    RoomPresence,
    Typing,
    Typists,
    Wanted,
)
from tests.support import ChatCall, RelayCall, message

ROOM: Final = "room"
TYPING: Any = JoinFollow.TYPING
PRESENCE: Any = JoinFollow.PRESENCE
# Looks like "ada" beside it, with an invisible character.
ODD: Final = "a\u200bda"
WRONG_TYPING: Final = {
    "typing.room_id: must not be empty": (Typing("", "ada"), ErrorCode.INVALID_ARGUMENT),
    "typing.user_id: must not be empty": (Typing(ROOM), ErrorCode.INVALID_ARGUMENT),
    "typing.user_id: must not contain invisible characters": (
        Typing(ROOM, ODD),
        ErrorCode.INVALID_ARGUMENT,
    ),
    "typing.room_id: is not joined": (Typing("another", "ada"), ErrorCode.FAILED_PRECONDITION),
}
WRONG_OF_PROXY: Final[dict[str, dict[str, Any]]] = {
    "typists.user_ids: must be at most 5": {"typists": Typists(ROOM, list("abcdef"))},
    "typists.others: must be at most 1000000": {"typists": Typists(ROOM, [], 1_000_001)},
    "typists.room_id: is not joined": {"typists": Typists("another", ["ada"])},
    "room_presence.room_id: must not be empty": {"room_presence": RoomPresence("", 1)},
    "room_presence.user_ids: must be at most 500": {
        "room_presence": RoomPresence(ROOM, 501, list(map(str, range(501))))
    },
    "room_presence.count: must be at least as many as are named": {
        "room_presence": RoomPresence(ROOM, 1, ["ada", "bob"])
    },
    "room_presence.room_id: is not joined": {"room_presence": RoomPresence("another", 1)},
}


@pytest.fixture
def chat_config() -> chat.Config:
    return chat.Config(host="127.0.0.1", port=0, database=chat.IN_MEMORY)


def presence(*users: str, count: int | None = None) -> RoomPresence:
    return RoomPresence(ROOM, len(users) if count is None else count, list(users))


def typists(*users: str, others: int = 0) -> Typists:
    return Typists(ROOM, list(users), others, 6000)


async def test_clients_see_each_other(stub: ChatServiceStub, ada: ChatCall, bob: ChatCall) -> None:
    """By a join in a name, and by a message; a contract client is told nothing of it."""
    await ada.enter(ROOM, user_id="ada", follow=[PRESENCE, TYPING])
    assert (await ada.receive()).room_presence == presence("ada")
    bob.say(message(ROOM, sender_id="bob"))
    assert (await bob.hear()).seq == (await ada.hear()).seq == 1
    ada.put(ChatStream(typing=Typing(ROOM, "ada"), request_id="unanswered"))
    ada.put(ChatStream(typing=Typing(ROOM, "ada")))
    assert (await ada.receive()).typists == typists("ada")
    assert (await ada.post(message(ROOM))).seq == (await bob.hear()).seq == 2
    async with ChatCall(stub) as cy:
        await cy.enter(ROOM, user_id="cy", follow=[PRESENCE, TYPING])
        told = [await cy.receive(), await cy.receive()]
        assert told[0].room_presence == presence("ada", "bob", "cy")
        assert told[1].typists == typists("ada")
    [room] = (await stub.list_rooms(ListRoomsRequest())).rooms
    assert room.present == 3
    members = (await stub.list_members(ListMembersRequest(ROOM, present=True))).members
    assert [each.user_id for each in members] == ["ada", "bob", "cy"]
    assert len((await stub.get_chat_history(GetChatHistoryRequest(ROOM))).messages) == 2


async def test_wrong_typing_is_refused(ada: ChatCall) -> None:
    await ada.enter(ROOM, follow=[TYPING])
    for text, (typing, code) in WRONG_TYPING.items():
        ada.put(ChatStream(typing=typing, request_id="1"))
        answer = await ada.receive()
        assert (answer.request_id, answer.error.code, answer.error.message) == ("1", code, text)
    ada.put(ChatStream(typing=Typing(ROOM, "ada")))
    assert (await ada.receive()).typists == typists("ada")


async def test_reader_may_not_have_an_odd_id(ada: ChatCall) -> None:
    ada.join(ROOM, user_id=ODD)
    text = (await ada.receive()).error.message
    assert text == "join.user_id: must not contain invisible characters"


async def test_proxy_is_asked_and_told(
    stub: ChatServiceStub, relay: RelayCall, ada: ChatCall
) -> None:
    relay.batch(RelayCommand(ref=1, join=Join(ROOM, follow=[PRESENCE, TYPING])))
    joined, wanted = await relay.events(2)
    assert (joined.ref, wanted.wanted) == (1, Wanted(ROOM, presence=True))
    relay.batch(RelayCommand(ref=2, room_presence=presence("bob", ODD, count=3)))
    # One that may not be named is counted.
    assert (await relay.event()).room_presence == presence("bob", count=3)
    await ada.enter(ROOM, user_id="ada", follow=[PRESENCE, TYPING])
    assert (await ada.receive()).room_presence == presence("ada", "bob", count=4)
    relay.batch(RelayCommand(ref=3, typists=Typists(ROOM, ["bob"], 2)))
    assert (await ada.receive()).typists == typists("bob", others=2)
    event = await relay.event()
    assert (event.ref, event.typists) == (0, typists("bob", others=2))
    members = (await stub.list_members(ListMembersRequest(ROOM, present=True))).members
    assert [each.user_id for each in members] == ["ada", "bob"]


async def test_proxy_that_follows_nothing_is_asked_by_a_follower(
    relay: RelayCall, ada: ChatCall
) -> None:
    relay.batch(
        RelayCommand(ref=1, join=Join(ROOM)),
        RelayCommand(ref=2, room_presence=presence(count=2)),
    )
    assert (await relay.event()).joined.room_id == ROOM
    await ada.enter(ROOM, follow=[PRESENCE])
    assert (await relay.event()).wanted == Wanted(ROOM, presence=True)
    relay.batch(RelayCommand(ref=3, room_presence=presence("bob", "cy")))
    assert (await ada.receive()).room_presence == presence("bob", "cy")
    ada.put(ChatStream(leave=Leave(ROOM)))
    assert (await relay.event()).wanted == Wanted(ROOM)


async def test_wrong_word_of_a_proxy_is_refused(relay: RelayCall) -> None:
    relay.batch(RelayCommand(ref=1, join=Join(ROOM)))
    await relay.event()
    for text, word in WRONG_OF_PROXY.items():
        relay.batch(RelayCommand(ref=2, **word))
        refused = await relay.event()
        assert (refused.ref, refused.error.message) == (2, text)


def test_typing_is_heard_once_in_a_while() -> None:
    turns = TypingTurns()
    assert [turns.take(ROOM, at) for at in (0.0, 1.0, TURN_SECONDS - 0.1)] == [True, False, False]
    assert turns.take("another", 1.0)
    assert turns.take(ROOM, TURN_SECONDS)
    rooms = [turns.take(f"room {number}", TURN_SECONDS) for number in range(100)]
    assert sum(rooms) == 62
    assert turns.take("one more", 2 * TURN_SECONDS)
