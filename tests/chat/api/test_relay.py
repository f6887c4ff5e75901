"""`Relay`: the traffic of many clients on one stream, in batches."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from grpclib import Status
from grpclib.client import Channel

import chat
from chat.api.relay import MOST_COMMANDS
from gen.chat import (
    ChangeMessageRequest,
    ChatMessage,
    ChatServiceStub,
    ErrorCode,
    GetUserRequest,
    Join,
    Leave,
    Presence,
    RelayCommand,
    RelayEvent,
    RelayServiceStub,
    UserStatus,
)
from hosting.metadata import ANSWERS, ANSWERS_SHARED
from tests.support import ChatCall, RelayCall, message, seqs


@pytest.fixture
def chat_config(chat_config: chat.Config) -> chat.Config:
    return replace(chat_config, replay_messages=1000)


@pytest.fixture
async def other(channel: Channel) -> AsyncIterator[RelayCall]:
    async with RelayCall(RelayServiceStub(channel)) as call:
        yield call


def send(ref: int, sent: ChatMessage) -> RelayCommand:
    return RelayCommand(ref=ref, chat_message=sent)


def join(ref: int, room_id: str = "room", after_seq: int | None = None) -> RelayCommand:
    return RelayCommand(ref=ref, join=Join(room_id, after_seq=after_seq))


def leave(ref: int, room_id: str = "room") -> RelayCommand:
    return RelayCommand(ref=ref, leave=Leave(room_id))


def presence(user_id: str, active: bool) -> RelayCommand:
    return RelayCommand(ref=1, presence=Presence(user_id, active))


async def heard_until(relay: RelayCall, ref: int) -> list[RelayEvent]:
    """Returns the events before the answer to a command."""
    events = []
    while (event := await relay.event()).ref != ref:
        events.append(event)
    return events


async def status(stub: ChatServiceStub, user_id: str) -> UserStatus:
    return (await stub.get_user(GetUserRequest(user_id))).user.status


async def test_batch_is_handled_in_order(relay: RelayCall) -> None:
    relay.batch(
        join(1),
        send(2, message(key="a")),
        send(3, message(key="b")),
        leave(4),
        send(5, message(key="c")),
        join(6, after_seq=0),
    )
    relay.end()
    responses, _ = await relay.rest()
    events = relay.whole(event for response in responses for event in response.events)
    assert [event.ref for event in events if event.ref in (1, 4, 6)] == [1, 4, 6]
    joined = [event.ref for event in events].index(6)
    heard = [event.chat_message for event in events[joined:] if event.ref == 0]
    assert [(m.id, m.seq) for m in heard] == [("a", 1), ("b", 2), ("c", 3)]


async def test_member_gets_its_own_messages(relay: RelayCall, other: RelayCall) -> None:
    for each in (relay, other):
        each.batch(join(1))
        await each.event()
    relay.batch(*(send(ref, message(key=str(ref))) for ref in range(2, 12)))
    for each in (relay, other):
        events = await each.events(10)
        assert {event.ref for event in events} == {0}
        assert [event.chat_message.id for event in events] == [str(ref) for ref in range(2, 12)]
        assert seqs(event.chat_message for event in events) == list(range(1, 11))
    relay.batch(leave(99))
    assert await heard_until(relay, 99) == []


async def test_own_messages_return_as_stored_only(relay: RelayCall, other: RelayCall) -> None:
    relay.batch(join(1), join(2, "attic"))
    await relay.events(2)
    other.batch(join(1))
    await other.event()
    relay.batch(
        send(7, message(key="a")), send(8, message("attic", key="b")), send(9, message(key="c"))
    )
    [event] = (await relay.receive()).events
    assert (event.stored.refs, event.stored.seqs) == ([7, 8, 9], [1, 1, 2])
    heard = await other.events(2)
    assert {each.chat_message.sent_at for each in heard} == {event.stored.sent_at}


async def test_stored_keeps_its_place_among_messages(relay: RelayCall, other: RelayCall) -> None:
    for each in (relay, other):
        each.batch(join(1))
        await each.event()
    for ref in range(2, 102):
        relay.batch(send(ref, message(key=str(ref))))
        other.batch(send(ref, message(key=str(ref), sender_id="bob")))
    for each in (relay, other):
        events = await each.events(200)
        assert seqs(event.chat_message for event in events) == list(range(1, 201))


async def test_large_batch_cuts_off_no_reader(
    relay: RelayCall, stub: ChatServiceStub, chat_config: chat.Config
) -> None:
    """One batch holds more than a reader's mailbox."""
    content = "x" * 16_000
    number = 2 * chat_config.mailbox_bytes // len(content)
    async with ChatCall(stub) as reader:
        await reader.enter("room")
        relay.batch(
            *(send(ref, message(content=content, key=str(ref))) for ref in range(1, number))
        )
        assert seqs(await reader.hear_many(number - 1)) == list(range(1, number))


async def test_sender_outside_the_room_is_answered(relay: RelayCall, other: RelayCall) -> None:
    other.batch(join(1))
    await other.event()
    relay.batch(send(7, message(key="a")), send(8, message(key="b")))
    answers = await relay.events(2)
    assert [(answer.ref, answer.chat_message.seq) for answer in answers] == [(7, 1), (8, 2)]
    assert [(event.ref, event.chat_message.seq) for event in await other.events(2)] == [
        (0, 1),
        (0, 2),
    ]


async def test_sending_joins_nothing(relay: RelayCall, other: RelayCall) -> None:
    relay.batch(send(1, message()))
    await relay.event()
    other.batch(send(2, message()))
    await other.event()
    relay.batch(leave(3))
    assert await heard_until(relay, 3) == []


async def test_repeat_is_answered_with_the_original(relay: RelayCall) -> None:
    relay.batch(join(1), send(2, message(content="first", key="a")))
    _, original = await relay.events(2)
    relay.batch(
        send(3, message(content="again", key="a")),
        send(4, message(key="b")),
        send(5, message(key="b")),
    )
    events = {event.ref: event.chat_message for event in await relay.events(3)}
    assert events[3] == original.chat_message
    assert events[0].seq == events[5].seq == 2
    relay.batch(leave(99))
    assert await heard_until(relay, 99) == []


async def test_leaving_and_joining_loses_no_answer(
    relay: RelayCall,
) -> None:
    """Delivered or answered; a duplicate does not hurt a proxy."""
    relay.batch(join(1))
    for ref in range(10, 1010, 10):
        relay.batch(send(ref, message(key=str(ref))), leave(ref + 1), join(ref + 2))
    relay.end()
    responses, status = await relay.rest()
    assert status is Status.OK
    events = relay.whole(event for response in responses for event in response.events)
    told = [event for event in events if event.ref == 0 or event.ref % 10 == 0]
    assert {event.ref for event in told} <= {0, *range(10, 1010, 10)}
    assert {event.chat_message.id for event in told} == {str(ref) for ref in range(10, 1010, 10)}
    assert all(event.chat_message.id == str(event.ref) for event in told if event.ref)


async def test_missed_messages_precede_live_ones(relay: RelayCall, other: RelayCall) -> None:
    other.batch(*(send(ref, message(key=str(ref))) for ref in range(1, 6)))
    await other.events(5)
    relay.batch(join(1, after_seq=2))
    joined = (await relay.event()).joined
    assert (joined.last_seq, joined.recovered) == (5, True)
    other.batch(send(6, message(key="6")))
    events = await relay.events(4)
    assert [(event.ref, event.chat_message.seq) for event in events] == [
        (0, 3),
        (0, 4),
        (0, 5),
        (0, 6),
    ]


async def test_proxy_replay_exceeds_a_clients(relay: RelayCall, stub: ChatServiceStub) -> None:
    number = 1001
    relay.batch(*(send(ref, message(key=str(ref))) for ref in range(1, number + 1)))
    await relay.events(number)
    async with ChatCall(stub) as client:
        client.join("room", after_seq=0)
        assert not (await client.receive()).joined.recovered
    relay.batch(join(9999, after_seq=0))
    assert (await relay.event()).joined.recovered
    events = await relay.events(number)
    assert seqs(event.chat_message for event in events) == list(range(1, number + 1))


REFUSED = [
    (RelayCommand(), "command: is missing"),
    (RelayCommand(chat_message=message("")), "chat_message.room_id: must not be empty"),
    (RelayCommand(join=Join("x" * 65)), "join.room_id: must have at most 64 characters"),
    (RelayCommand(leave=Leave("\n")), "leave.room_id: must not contain control characters"),
    (RelayCommand(presence=Presence("")), "presence.user_id: must not be empty"),
]


@pytest.mark.parametrize(("command", "text"), REFUSED)
async def test_refused_command_affects_no_other(
    relay: RelayCall, command: RelayCommand, text: str
) -> None:
    command.ref = 2
    relay.batch(send(1, message(key="a")), command, send(3, message(key="b")))
    events = {event.ref: event for event in await relay.events(3)}
    assert (events[2].error.code, events[2].error.message) == (ErrorCode.INVALID_ARGUMENT, text)
    assert (events[1].chat_message.seq, events[3].chat_message.seq) == (1, 2)


async def test_presence_comes_and_goes(relay: RelayCall, stub: ChatServiceStub) -> None:
    relay.batch(send(1, message(sender_id="ada")), presence("bob", True))
    await relay.event()
    assert await status(stub, "ada") == UserStatus.ACTIVE
    relay.batch(presence("ada", False), leave(2))
    await relay.event()
    assert await status(stub, "ada") == UserStatus.INACTIVE
    relay.batch(presence("ada", True), leave(3))
    await relay.event()
    assert await status(stub, "ada") == UserStatus.ACTIVE


async def test_presence_creates_no_user(relay: RelayCall, stub: ChatServiceStub) -> None:
    relay.batch(presence("bob", True), send(1, message(sender_id="bob")))
    await relay.event()
    assert await status(stub, "bob") == UserStatus.ACTIVE


async def test_user_is_active_at_any_proxy(
    relay: RelayCall, other: RelayCall, stub: ChatServiceStub
) -> None:
    for each in (relay, other):
        each.batch(send(1, message(sender_id="ada")))
        await each.event()
    relay.batch(presence("ada", False), leave(2))
    await relay.event()
    assert await status(stub, "ada") == UserStatus.ACTIVE
    other.end()
    assert await other.rest() == ([], Status.OK)
    assert await status(stub, "ada") == UserStatus.INACTIVE


async def test_half_closed_relay_ends_after_answers(relay: RelayCall) -> None:
    for ref in range(1, 301):
        relay.batch(send(ref, message(key=str(ref))))
    relay.end()
    responses, status = await relay.rest()
    events = relay.whole(event for response in responses for event in response.events)
    assert [event.ref for event in events] == list(range(1, 301))
    assert status is Status.OK


async def test_empty_batch_is_accepted(relay: RelayCall) -> None:
    relay.batch()
    relay.batch(leave(1))
    assert (await relay.event()).ref == 1


async def test_messages_cross_relay_and_chat(relay: RelayCall, stub: ChatServiceStub) -> None:
    relay.batch(join(1))
    await relay.event()
    async with ChatCall(stub) as client:
        assert (await client.post(message(content="from a client"))).seq == 1
        assert (await relay.event()).chat_message.content == "from a client"
        relay.batch(send(2, message(content="from a proxy")))
        assert (await client.hear()).content == "from a proxy"


async def test_answers_are_shared_with_a_proxy_that_takes_that(
    stub: ChatServiceStub, channel: Channel
) -> None:
    async with ChatCall(stub) as call:
        await call.post(message())
        await call.post(message())

    def react(ref: int, seq: int, user_id: str) -> RelayCommand:
        request = ChangeMessageRequest("room", seq, user_id, react="+1")
        return RelayCommand(ref=ref, change_message=request)

    taking = RelayServiceStub(channel, metadata={ANSWERS: ANSWERS_SHARED})
    async with RelayCall(taking) as relay:
        relay.batch(
            *(react(1, 1, "ada"), react(2, 2, "ada"), react(3, 1, "bob"), react(4, 9, "bob"))
        )
        events = {event.ref: event for event in await relay.events(3)}
        assert events[0].changed_together.refs == [1, 3]
        [reaction] = events[0].changed_together.message.extra.state.reactions
        assert reaction.user_ids == ["ada", "bob"]
        assert events[2].changed_message.message.seq == 2
        assert events[4].error.code == ErrorCode.NOT_FOUND


@pytest.mark.parametrize("more", [0, 1])
async def test_oversized_batch_is_not_decoded(relay: RelayCall, more: int) -> None:
    """Empty commands would take thousands of times their bytes."""
    relay.batch(*[RelayCommand()] * (MOST_COMMANDS + more))
    if more:
        assert await relay.rest() == ([], Status.RESOURCE_EXHAUSTED)
    else:
        assert (await relay.event()).error.code == ErrorCode.INVALID_ARGUMENT
