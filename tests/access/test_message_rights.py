"""Who may change, mark and erase: the same at the gRPC door and at the WebSocket door."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from typing import Any

import pytest

import chat
from gen.chat import (
    Authenticate,
    ChangeMessageRequest,
    ChatMessage,
    ChatServiceStub,
    Delete,
    EraseUserRequest,
    GetChangesRequest,
    GetChatHistoryRequest,
    GetUserRequest,
    ListReactionsRequest,
    MarkReadRequest,
    MessageExtra,
    MessageState,
    RelayCommand,
    RelayServiceStub,
)
from tests.access.doors import Doors, Visitor, refused
from tests.access.signing import Signer, bearer
from tests.support import ChatCall, RelayCall, channel_to


@pytest.fixture
def chat_config() -> chat.Config:
    return chat.Config(host="127.0.0.1", port=0, database=chat.IN_MEMORY)


ROOMS: dict[str, dict[str, list[str]]] = {
    "ada": {"read": ["*"], "write": ["*"]},
    "bob": {"read": ["lobby"], "write": ["lobby"]},
    "reader": {"read": ["lobby"], "write": []},
    "writer": {"read": [], "write": ["lobby"]},
    "outsider": {"read": ["attic"], "write": ["attic"]},
    "mod": {"read": ["lobby"], "write": ["lobby"]},
    "attic-mod": {"read": ["attic"], "write": ["*"]},
    "root": {"read": ["*"], "write": ["*"]},
}
ROLES = {"mod": "moderator", "attic-mod": "moderator", "root": "admin"}


def token_of(signer: Signer, name: str) -> str:
    return signer.token(kid="one", sub=name, rooms=ROOMS[name], role=ROLES.get(name, "user"))


class House:
    """Visitors by their names, each let in when it is first asked for."""

    def __init__(self, doors: Doors, door: str, signer: Signer, stack: AsyncExitStack) -> None:
        self._doors = doors
        self._door = door
        self._signer = signer
        self._stack = stack
        self._visitors: dict[str, Visitor] = {}

    async def ask(self, name: str, request: Any) -> Any:
        if name not in self._visitors:
            visit = self._doors.visit(self._door, token_of(self._signer, name))
            self._visitors[name] = await self._stack.enter_async_context(visit)
        return await self._visitors[name].ask(request)

    async def say(self, name: str, content: str = "hello") -> int:
        seq: int = (await self.ask(name, ChatMessage(room_id="lobby", content=content))).seq
        return seq

    async def change(self, name: str, seq: int, **asked: Any) -> ChatMessage:
        request = ChangeMessageRequest("lobby", seq, **asked)
        message: ChatMessage = (await self.ask(name, request)).message
        return message


@pytest.fixture
async def house(doors: Doors, door: str, signer: Signer) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        yield House(doors, door, signer, stack)


async def refusal(answer: Awaitable[Any]) -> str:
    """The code and the text of a refusal, without the name of the call that a frame has."""
    text = ": ".join(await refused(answer))
    for call in ("change_message.", "mark_read.", "get_changes.", "list_reactions.", "erase_user."):
        text = text.replace(call, "", 1)
    return text


async def test_edit_is_for_the_sender_with_write_access(house: House) -> None:
    seq = await house.say("ada")
    edited = await house.change("ada", seq, content="better")
    assert (edited.content, edited.extra.state.change) == ("better", 1)
    for name in ("bob", "mod", "root"):
        told = await refusal(house.change(name, seq, content="worse"))
        assert told == "PERMISSION_DENIED: content: only the sender may edit a message"
    told = await refusal(house.change("reader", seq, content="worse"))
    assert told == "PERMISSION_DENIED: room_id: the token does not allow to send to this room"
    own = await house.say("writer")
    assert (await house.change("writer", own, content="better")).content == "better"


async def test_delete_is_for_sender_and_moderators(house: House) -> None:
    seq = await house.say("ada")
    told = await refusal(house.change("bob", seq, delete=Delete()))
    assert told == (
        "PERMISSION_DENIED: delete: only the sender or a moderator may delete a message"
    )
    told = await refusal(house.change("attic-mod", seq, delete=Delete()))
    assert told == "PERMISSION_DENIED: room_id: the token does not allow to read this room"
    tombstone = await house.change("mod", seq, delete=Delete())
    assert (tombstone.content, tombstone.extra.state.deleted_by) == ("", "mod")
    for name in ("ada", "root"):
        own = await house.say("ada")
        tombstone = await house.change(name, own, delete=Delete())
        assert tombstone.extra.state.deleted_by == (None if name == "ada" else "root")


async def test_pin_is_for_moderators(house: House) -> None:
    seq = await house.say("ada")
    for name in ("ada", "bob"):
        told = await refusal(house.change(name, seq, pinned=True))
        assert told == "PERMISSION_DENIED: pinned: only a moderator may pin a message"
    assert (await house.change("mod", seq, pinned=True)).extra.state.pinned
    assert not (await house.change("root", seq, pinned=False)).extra.state.pinned


async def test_readers_react_in_their_own_name(house: House) -> None:
    seq = await house.say("ada")
    await house.change("reader", seq, react="👍")
    reacted = await house.change("bob", seq, react="👍", user_id="bob")
    assert reacted.extra.state.reactions[0].user_ids == ["reader", "bob"]
    told = await refusal(house.change("bob", seq, react="👍", user_id="ada"))
    assert told == ("PERMISSION_DENIED: user_id: must be the subject of the token, or left out")
    for name in ("outsider", "writer"):
        for asked in ({"react": "x"}, {"unreact": "x"}, {"delete": Delete()}, {"pinned": True}):
            told = await refusal(house.change(name, seq, **asked))
            assert told == "PERMISSION_DENIED: room_id: the token does not allow to read this room"


@pytest.mark.parametrize(
    "request_",
    [
        GetChangesRequest("lobby"),
        ListReactionsRequest("lobby", 1),
        MarkReadRequest("lobby", 1),
        MarkReadRequest("lobby"),
    ],
    ids=lambda request: type(request).__name__,
)
async def test_calls_need_read_access(house: House, request_: Any) -> None:
    await house.say("ada")
    await house.ask("reader", request_)
    for name in ("outsider", "writer"):
        told = await refusal(house.ask(name, request_))
        assert told == "PERMISSION_DENIED: room_id: the token does not allow to read this room"


async def test_marks_are_ones_own(house: House) -> None:
    await house.say("ada")
    assert (await house.ask("bob", MarkReadRequest("lobby", 1))).mark.seq == 1
    assert (await house.ask("reader", MarkReadRequest("lobby"))).mark.seq == 0
    for seq in (0, 1):
        told = await refusal(house.ask("bob", MarkReadRequest("lobby", seq, "ada")))
        assert told == "PERMISSION_DENIED: user_id: must be the subject of the token, or left out"


async def test_erasure_is_for_admins(house: House) -> None:
    for _ in range(3):
        await house.say("ada", "secret")
    for name in ("ada", "bob", "mod"):
        told = await refusal(house.ask(name, EraseUserRequest("ada")))
        assert told == "PERMISSION_DENIED: user_id: only an admin may erase a user"
    erased = await house.ask("root", EraseUserRequest("ada"))
    assert (erased.messages, erased.done) == (3, True)
    page = await house.ask("reader", GetChatHistoryRequest("lobby"))
    assert [message.content for message in page.messages] == ["", "", ""]
    assert (await refusal(house.ask("root", GetUserRequest("ada")))).startswith("NOT_FOUND")


async def test_extra_is_refused_or_kept(house: House) -> None:
    """Who sent it is told of the very message that the others read."""
    await house.say("ada")

    async def send(name: str, extra: MessageExtra) -> ChatMessage:
        sent = ChatMessage(room_id="lobby", content="hello", extra=extra)
        answer: ChatMessage = await house.ask(name, sent)
        page = await house.ask(name, GetChatHistoryRequest("lobby", 1))
        assert page.messages == [answer]
        return answer

    for told, extra in {
        "mentions_room: only a moderator may mention everyone in a room": MessageExtra(
            mentions_room=True
        ),
        "reply_to: must be at least 1": MessageExtra(reply_to=0),
        "reply_to: the room has no message 2": MessageExtra(reply_to=2),
        "mentions: must have each user once": MessageExtra(mentions=["ada", "ada"]),
        "data: must have at most 4096 bytes of UTF-8": MessageExtra(data="x" * 4097),
    }.items():
        _, text = await refused(send("bob", extra))
        assert text == f"chat_message.extra.{told}"
    all_of_it = MessageExtra(reply_to=1, mentions=["ada"], data="{}")
    assert (await send("bob", all_of_it)).extra == all_of_it
    assert (await send("mod", MessageExtra(mentions_room=True))).extra.mentions_room
    for empty in (MessageExtra(), MessageExtra(state=MessageState(change=9, pinned=True))):
        assert (await send("bob", empty)).held_extra is None


async def test_everyone_is_mentioned_by_moderators(
    guarded_config: chat.Config, signer: Signer
) -> None:
    """On a stream of a client, and on that of a proxy."""
    path = "chat_message.extra.mentions_room"
    told = f"{path}: only a moderator may mention everyone in a room"
    sent = ChatMessage(room_id="lobby", content="all!", extra=MessageExtra(mentions_room=True))
    async with chat.serve(guarded_config) as server, channel_to(server) as channel:
        heard = {}
        for name in ("bob", "attic-mod", "mod", "root"):
            stub = ChatServiceStub(channel, metadata=bearer(token_of(signer, name)))
            async with ChatCall(stub) as call:
                call.say(sent, "1")
                heard[name] = await call.receive()
        assert [heard[name].error.message for name in ("bob", "attic-mod")] == [told, told]
        assert [heard[name].chat_message.extra for name in ("mod", "root")] == [sent.extra] * 2
        edge = signer.token(kid="one", sub="edge", role="proxy", rooms=None)
        async with RelayCall(RelayServiceStub(channel, metadata=bearer(edge))) as relay:
            for number, name in ((1, "bob"), (2, "mod")):
                token = token_of(signer, name)
                relay.batch(
                    RelayCommand(ref=1, client=number, authenticate=Authenticate(token)),
                    RelayCommand(ref=2, client=number, chat_message=sent),
                )
            answers = {(event.ref, type(event.event).__name__) for event in await relay.events(4)}
            assert answers == {
                (1, "Authenticated"),
                (2, "Error"),
                (2, "ChatMessage"),
            }
