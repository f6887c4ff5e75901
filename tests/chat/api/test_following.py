"""Streams that follow what becomes of messages, and how far users have read."""

from dataclasses import replace
from typing import Any

import betterproto
import pytest

import chat
from chat.storage.rooms import room_of
from gen.chat import (
    ChangeMessageRequest,
    ChatServiceStub,
    ChatStream,
    Delete,
    ErrorCode,
    GetChangesRequest,
    Join,
    Joined,
    JoinFollow,
    Mark,
    MarkReadRequest,
    MessageChange,
    MessageExtra,
    Reads,
    RelayCommand,
    Room,
    RoomChanges,
    SetRoomRequest,
    ToUser,
)
from tests.support import ChatCall, RelayCall, message, seqs

REPLAY = 20
CHANGES: Any = JoinFollow.CHANGES
READS: Any = JoinFollow.READS
ROOM = "room"


@pytest.fixture
def chat_config(chat_config: chat.Config) -> chat.Config:
    return replace(chat_config, database=chat.IN_MEMORY, replay_messages=REPLAY)


async def fill(sender: ChatCall, number: int) -> None:
    for _ in range(number):
        await sender.post(message(ROOM))


async def change(stub: ChatServiceStub, seq: int, **what: Any) -> None:
    await stub.change_message(ChangeMessageRequest(ROOM, seq, "ada", **what))


async def join(call: ChatCall, *follow: Any, **rest: Any) -> Joined:
    call.join(ROOM, follow=list(follow), **rest)
    return (await call.receive()).joined


async def changes(call: ChatCall) -> RoomChanges:
    return (await call.receive()).changes


def shown(change: MessageChange) -> tuple[int, str | None, int]:
    return change.seq, change.content, change.state.change


async def test_only_followers_are_told(stub: ChatServiceStub, ada: ChatCall, bob: ChatCall) -> None:
    """A client of the contract alone gets messages, and nothing else."""
    await fill(ada, 2)
    assert (await join(bob, CHANGES)).last_change == 0
    await change(stub, 2, content="better")
    told = await changes(bob)
    assert (told.room_id, told.after_change, told.last_change) == (ROOM, 0, 1)
    assert [shown(each) for each in told.messages] == [(2, "better", 1)]
    await change(stub, 2, delete=Delete())
    assert [shown(each) for each in (await changes(bob)).messages] == [(2, "", 2)]
    await fill(ada, 1)
    assert (await bob.hear()).seq == 3


async def test_missed_changes_come_before_missed_messages(
    stub: ChatServiceStub, ada: ChatCall, bob: ChatCall
) -> None:
    """A message that the client does not have comes as it stands, and its change with it."""
    await fill(ada, 4)
    for seq in (1, 2, 4, 1):
        await change(stub, seq, react=f"{seq}")
        await change(stub, seq, content=f"text {seq}")
    joined = await join(bob, CHANGES, after_seq=2, after_change=1)
    assert (joined.recovered, joined.last_seq, joined.last_change) == (True, 4, 6)
    told = await changes(bob)
    assert (told.after_change, told.last_change) == (1, 6)
    assert [shown(each) for each in told.messages] == [(1, "text 1", 2), (2, "text 2", 4)]
    missed = await bob.hear_many(2)
    assert [(each.seq, each.content) for each in missed] == [(3, "hello"), (4, "text 4")]
    assert missed[1].extra.state.change == 6
    await change(stub, 4, pinned=True)
    told = await changes(bob)
    # It may begin with what the client has already.
    assert told.after_change <= 6
    assert told.last_change == 7
    assert (told.messages[-1].seq, told.messages[-1].state.change) == (4, 7)


async def test_nothing_is_repeated_to_who_has_it_all(
    stub: ChatServiceStub, ada: ChatCall, bob: ChatCall
) -> None:
    await fill(ada, 1)
    await change(stub, 1, react="+1")
    joined = await join(bob, CHANGES, after_seq=1, after_change=1)
    assert (joined.recovered, joined.last_change) == (True, 1)
    await fill(ada, 1)
    assert (await bob.hear()).seq == 2


@pytest.mark.parametrize(("changed", "recovered"), [(REPLAY, True), (REPLAY + 1, False)])
async def test_replay_of_changes_is_bounded_by_messages(
    stub: ChatServiceStub, ada: ChatCall, bob: ChatCall, changed: int, recovered: bool
) -> None:
    await fill(ada, REPLAY + 1)
    for seq in [*range(1, changed + 1), 1]:
        await change(stub, seq, react="+1")
        await change(stub, seq, pinned=True)
    joined = await join(bob, CHANGES, after_seq=REPLAY + 1, after_change=0)
    assert joined.recovered == recovered
    assert joined.last_change == 2 * changed
    if recovered:
        assert len((await changes(bob)).messages) == changed
    await change(stub, 1, content="live")
    assert (await changes(bob)).last_change == 2 * changed + 1


async def test_position_of_another_history_is_not_recovered(ada: ChatCall, bob: ChatCall) -> None:
    await fill(ada, 1)
    joined = await join(bob, CHANGES, after_seq=1, after_change=1)
    assert (joined.recovered, joined.last_change) == (False, 0)


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"follow": [5]}, "join.follow: expected CHANGES, TYPING, PRESENCE or READS"),
        ({"follow": [1, 2**31 - 1]}, "join.follow: expected CHANGES, TYPING, PRESENCE or READS"),
        ({"follow": [1, 4, 1]}, "join.follow: must name each kind once"),
        ({"follow": [0, 0]}, "join.follow: must name each kind once"),
        ({"after_seq": 1, "after_change": 0}, "join.after_change: needs CHANGES in join.follow"),
        ({"follow": [1], "after_change": 0}, "join.after_change: needs join.after_seq"),
        ({"user_id": "\n"}, "join.user_id: must not contain control characters"),
        ({"user_id": "x" * 65}, "join.user_id: must have at most 64 characters"),
    ],
)
async def test_bad_join_is_refused_and_changes_nothing(
    stub: ChatServiceStub, ada: ChatCall, bob: ChatCall, asked: dict[str, Any], text: str
) -> None:
    await fill(ada, 1)
    await join(bob, CHANGES)
    bob.join(ROOM, request_id="bad", **asked)
    response = await bob.receive()
    assert response.request_id == "bad"
    assert response.error.code == ErrorCode.INVALID_ARGUMENT
    assert response.error.message == text
    await change(stub, 1, react="+1")
    assert (await changes(bob)).last_change == 1


async def test_following_nothing_is_as_leaving_it_out(
    stub: ChatServiceStub, ada: ChatCall, bob: ChatCall
) -> None:
    await fill(ada, 1)
    await join(bob, CHANGES)
    assert (await join(bob, JoinFollow.NONE)).last_change is None
    await change(stub, 1, react="+1")
    await fill(ada, 1)
    assert (await bob.hear()).seq == 2


async def test_storm_is_told_in_frames_that_chain(
    stub: ChatServiceStub, ada: ChatCall, bob: ChatCall
) -> None:
    await fill(ada, 3)
    await join(bob, CHANGES)
    for number in range(1, 31):
        await change(stub, 1 + number % 3, content=f"text {number}")
    position = 0
    texts: dict[int, str | None] = {}
    while position < 30:
        told = await changes(bob)
        assert told.after_change == position
        position = told.last_change
        texts.update((each.seq, each.content) for each in told.messages)
    assert texts == {1: "text 30", 2: "text 28", 3: "text 29"}


async def test_room_that_is_set_is_told_to_followers(
    stub: ChatServiceStub, ada: ChatCall, bob: ChatCall, relay: RelayCall
) -> None:
    """Live, in a replay, and to proxies: at its place among the changes of messages."""
    await fill(ada, 2)
    await join(bob, CHANGES)
    relay.batch(RelayCommand(ref=1, join=Join(ROOM, follow=[CHANGES])))
    await relay.event()
    first = (await stub.set_room(SetRoomRequest(Room(ROOM, "First")))).room
    for told in (await changes(bob), (await relay.event()).changes):
        assert told == RoomChanges(ROOM, 0, 1, room=first)
    # What comes within a quarter of a second is told together, as it stands.
    await change(stub, 1, content="better")
    second = (await stub.set_room(SetRoomRequest(Room(ROOM, "Second")))).room
    await change(stub, 2, react="+1")
    told = await changes(bob)
    while told.last_change < 4:
        later = await changes(bob)
        assert later.after_change == told.last_change
        later.after_change, later.room = told.after_change, room_of(later) or told.room
        later.messages[:0] = told.messages
        told = later
    assert (told.after_change, told.room) == (1, second)
    assert [shown(each)[0] for each in told.messages] == [1, 2]
    # Who comes back is told what it missed, and no more.
    async with ChatCall(stub) as late:
        for after_change, room, seqs_ in ((0, second, [1, 2]), (2, second, [2]), (3, None, [2])):
            joined = await join(late, CHANGES, after_seq=2, after_change=after_change)
            assert (joined.recovered, joined.last_change) == (True, 4)
            told = await changes(late)
            assert (told.after_change, told.last_change, room_of(told)) == (after_change, 4, room)
            assert [each.seq for each in told.messages] == seqs_
    page = await stub.get_changes(GetChangesRequest(ROOM, limit=2))
    assert (page.changes.room, page.has_more, page.changes.last_change) == (second, True, 3)


async def test_empty_room_that_is_set_is_told(stub: ChatServiceStub, bob: ChatCall) -> None:
    assert (await join(bob, CHANGES)).last_seq == 0
    room = (await stub.set_room(SetRoomRequest(Room(ROOM, "Title")))).room
    assert await changes(bob) == RoomChanges(ROOM, 0, 1, room=room)
    joined = await join(bob, CHANGES, after_seq=0, after_change=0)
    assert (joined.recovered, joined.last_seq, joined.last_change) == (True, 0, 1)
    assert (await changes(bob)).room == room


async def test_marks_go_to_who_speaks_for_the_user(
    stub: ChatServiceStub, ada: ChatCall, bob: ChatCall, relay: RelayCall
) -> None:
    """By having sent, or by the join; and to proxies, for their clients."""
    await fill(ada, 2)
    await join(ada, CHANGES)
    await join(bob, READS, user_id="bob")
    relay.batch(RelayCommand(ref=1, join=Join(ROOM, follow=[CHANGES])))
    await relay.event()
    mark = Mark(ROOM, 1, 0)
    for user_id in ("ada", "bob", "eve"):
        await stub.mark_read(MarkReadRequest(ROOM, 1, user_id))
    assert (await ada.receive()).mark == mark
    # The first is told at once, and the others later: together, unless they took long to come.
    assert (await bob.receive()).reads == Reads(ROOM, ["ada"], [1])
    told = [await bob.receive(), await bob.receive()]
    if sum(len(each.reads.user_ids) for each in told if is_reads(each)) < 2:
        told.append(await bob.receive())
    reads = [each.reads for each in told if is_reads(each)]
    assert [each.mark for each in told if not is_reads(each)] == [mark]
    assert [user_id for each in reads for user_id in each.user_ids] == ["bob", "eve"]
    assert [seq for each in reads for seq in each.seqs] == [1, 1]
    events = await relay.events(3)
    assert [event.to_user for event in events] == [
        ToUser(user_id, mark=mark) for user_id in ("ada", "bob", "eve")
    ]
    assert {event.ref for event in events} == {0}


def is_reads(told: ChatStream) -> bool:
    return betterproto.which_one_of(told, "payload")[0] == "reads"


async def test_proxy_follows_and_resumes(
    stub: ChatServiceStub, ada: ChatCall, relay: RelayCall
) -> None:
    await fill(ada, 2)
    await change(stub, 1, content="better")
    again = Join(ROOM, after_seq=1, follow=[CHANGES], after_change=0)
    relay.batch(RelayCommand(ref=7, join=again))
    joined, told, missed = await relay.events(3)
    assert (joined.ref, joined.joined.last_change, joined.joined.recovered) == (7, 1, True)
    assert (told.ref, [shown(each) for each in told.changes.messages]) == (0, [(1, "better", 1)])
    assert missed.chat_message.seq == 2
    relay.batch(RelayCommand(ref=8, join=Join(ROOM, follow=[CHANGES, CHANGES])))
    refused = await relay.event()
    assert (refused.ref, refused.error.message) == (8, "join.follow: must name each kind once")
    await change(stub, 2, react="+1")
    assert (await relay.event()).changes.last_change == 2


async def test_proxy_changes_messages(ada: ChatCall, relay: RelayCall) -> None:
    await fill(ada, 1)
    relay.batch(
        RelayCommand(ref=1, change_message=ChangeMessageRequest(ROOM, 1, "ada", content="1")),
        RelayCommand(ref=2, change_message=ChangeMessageRequest(ROOM, 1, "bob", content="2")),
        RelayCommand(ref=3, change_message=ChangeMessageRequest(ROOM, 1, "ada", content="3")),
        RelayCommand(ref=4, change_message=ChangeMessageRequest(ROOM, 9, "ada", react="+1")),
        RelayCommand(ref=5, change_message=ChangeMessageRequest(ROOM, 1, "ada")),
    )
    events = {event.ref: event for event in await relay.events(5)}
    assert events[1].changed_message.message.content == "1"
    assert events[2].error.code == ErrorCode.PERMISSION_DENIED
    assert events[3].changed_message.message.content == "3"
    assert events[3].changed_message.message.extra.state.change == 2
    assert events[4].error.code == ErrorCode.NOT_FOUND
    assert events[5].error.code == ErrorCode.INVALID_ARGUMENT


async def test_extra_passes_both_doors(bob: ChatCall, relay: RelayCall) -> None:
    relay.batch(RelayCommand(ref=1, join=Join(ROOM)))
    await relay.event()
    bob.put(ChatStream(chat_message=said("1", mentions=["bob"], data="{}")))
    assert (await bob.hear()).extra.mentions == ["bob"]
    assert (await relay.event()).chat_message.extra.data == "{}"
    relay.batch(RelayCommand(ref=2, chat_message=said("2", reply_to=1)))
    heard = await bob.hear()
    assert (heard.seq, heard.extra.reply_to) == (2, 1)
    assert seqs([(await relay.event()).chat_message]) == [2]


def said(key: str, **extra: Any) -> Any:
    return replace(message(ROOM, key=key), extra=MessageExtra(**extra))
