"""`Chat`: a live stream over a real connection, with the generated stub."""

from datetime import UTC, datetime, timedelta

from grpclib import Status

from gen.chat import (
    ChatServiceStub,
    ChatStream,
    ErrorCode,
    GetChatHistoryRequest,
    Joined,
    Left,
)
from tests.support import ChatCall, message, seqs


async def heard_before_left(call: ChatCall, room_id: str) -> list[ChatStream]:
    """Leaves a room; returns the responses before the answer: then nothing is in flight."""
    call.leave(room_id, request_id="leaving")
    responses = []
    while (response := await call.receive()).request_id != "leaving":
        responses.append(response)
    return responses


async def test_message_returns_with_position_and_time(ada: ChatCall) -> None:
    before = datetime.now(UTC)
    heard = await ada.post(message("room", "hello", sender_id="ada", key="1"))
    assert (heard.id, heard.room_id, heard.sender_id, heard.content) == (
        *("1", "room", "ada"),
        "hello",
    )
    assert heard.seq == 1
    assert before - timedelta(milliseconds=1) <= heard.sent_at <= datetime.now(UTC)
    assert await heard_before_left(ada, "room") == []


async def test_message_without_id_gets_one(ada: ChatCall) -> None:
    first = await ada.post(message())
    second = await ada.post(message())
    assert 1 <= len(first.id) <= 64
    assert first.id != second.id
    assert seqs([first, second]) == [1, 2]


async def test_client_cannot_set_server_fields(ada: ChatCall) -> None:
    sent = message(key="1")
    sent.seq = 77
    sent.sent_at = datetime(2001, 1, 1, tzinfo=UTC)
    heard = await ada.post(sent)
    assert heard.seq == 1
    assert heard.sent_at.year > 2001


async def test_members_hear_the_same_order(ada: ChatCall, bob: ChatCall) -> None:
    await ada.enter("room")
    await bob.enter("room")
    for number in range(20):
        ada.say(message(sender_id="ada", key=str(number)))
        bob.say(message(sender_id="bob", key=str(number)))
    at_ada, at_bob = await ada.hear_many(40), await bob.hear_many(40)
    assert at_ada == at_bob
    assert seqs(at_ada) == list(range(1, 41))
    assert [m.id for m in at_ada if m.sender_id == "ada"] == [str(n) for n in range(20)]


async def test_sending_joins(ada: ChatCall, bob: ChatCall) -> None:
    await bob.post(message(sender_id="bob", key="1"))
    await ada.post(message(sender_id="ada", key="1"))
    assert (await bob.hear()).sender_id == "ada"


async def test_other_rooms_are_not_heard(ada: ChatCall, bob: ChatCall) -> None:
    await bob.enter("another room")
    await ada.post(message("room"))
    assert await heard_before_left(bob, "another room") == []


async def test_only_the_answer_has_the_request_id(ada: ChatCall, bob: ChatCall) -> None:
    await bob.enter("room")
    ada.say(message(), request_id="a question")
    assert (await ada.receive()).request_id == "a question"
    assert (await bob.receive()).request_id is None


async def test_request_id_returns_unchanged(ada: ChatCall) -> None:
    for request_id in ("", "x", "ünïcode 😀\n\0", "x" * 1000):
        ada.join("room", request_id=request_id)
        assert (await ada.receive()).request_id == request_id
        ada.say(message(), request_id=request_id)
        assert (await ada.receive()).request_id == request_id
        ada.say(message(content=""), request_id=request_id)
        refused = await ada.receive()
        assert (refused.request_id, bool(refused.error.message)) == (request_id, True)
        ada.leave("room", request_id=request_id)
        assert (await ada.receive()).request_id == request_id


async def test_repeat_returns_the_original(ada: ChatCall, bob: ChatCall) -> None:
    await bob.enter("room")
    original = await ada.post(message(content="first", key="1"))
    ada.say(message(content="second", key="1"), request_id="again")
    answer = await ada.receive()
    assert (answer.request_id, answer.chat_message) == ("again", original)
    assert await bob.hear() == original
    assert await heard_before_left(bob, "room") == []


async def test_repeat_on_another_stream_returns_original(ada: ChatCall, bob: ChatCall) -> None:
    original = await ada.post(message(content="first", key="1"))
    assert await bob.post(message(content="second", key="1")) == original
    assert await heard_before_left(ada, "room") == []


async def test_concurrent_repeats_are_all_answered(ada: ChatCall) -> None:
    for number in range(10):
        ada.say(message(content=str(number), key="1"), request_id=str(number))
    answers = [await ada.receive() for _ in range(10)]
    assert [answer.request_id for answer in answers] == [str(number) for number in range(10)]
    assert {(answer.chat_message.seq, answer.chat_message.content) for answer in answers} == {
        (1, "0")
    }
    assert await heard_before_left(ada, "room") == []


async def test_leaving_ends_delivery(ada: ChatCall, bob: ChatCall) -> None:
    await bob.enter("room")
    bob.leave("room")
    assert (await bob.receive()).left == Left("room")
    await ada.post(message("room"))
    assert await heard_before_left(bob, "room") == []


async def test_leaving_another_room_is_answered(ada: ChatCall) -> None:
    ada.leave("room")
    assert (await ada.receive()).left == Left("room")


async def test_sender_that_left_is_answered(ada: ChatCall) -> None:
    ada.say(message(key="1"), request_id="sent")
    ada.leave("room", request_id="left")
    answers = {(await ada.receive()).request_id for _ in range(2)}
    assert answers == {"sent", "left"}
    assert await heard_before_left(ada, "room") == []


async def test_joined_has_position_and_epoch(
    ada: ChatCall, bob: ChatCall, stub: ChatServiceStub
) -> None:
    ada.join("room")
    joined = (await ada.receive()).joined
    history = await stub.get_chat_history(GetChatHistoryRequest("room"))
    assert joined == Joined("room", epoch=history.epoch, last_seq=0, recovered=False)
    await ada.post(message())
    assert await bob.enter("room") == 1


PAYLOADS = "payload: expected one of chat_message, join, leave, authenticate, typing"
REFUSED = [
    (ChatStream(), PAYLOADS),
    (ChatStream(left=Left("room")), PAYLOADS),
    (ChatStream(chat_message=message("")), "chat_message.room_id: must not be empty"),
    (
        ChatStream(chat_message=message("a\nb")),
        "chat_message.room_id: must not contain control characters",
    ),
]


async def test_refusal_names_the_field(ada: ChatCall) -> None:
    """The rules themselves have their own tests."""
    for request, text in REFUSED:
        ada.put(request)
        error = (await ada.receive()).error
        assert (error.code, error.message) == (ErrorCode.INVALID_ARGUMENT, text)
        assert not error.retryable
    assert (await ada.post(message())).seq == 1


async def test_join_and_leave_refuse_wrong_rooms(ada: ChatCall) -> None:
    for room_id in ("", "x" * 65, "\x00"):
        ada.join(room_id)
        assert (await ada.receive()).error.message.startswith("join.room_id: must")
        ada.leave(room_id)
        assert (await ada.receive()).error.message.startswith("leave.room_id: must")


async def test_largest_message_fits(ada: ChatCall) -> None:
    largest = message("r" * 64, "😀" * 4096, sender_id="s" * 64, key="i" * 64)
    heard = await ada.post(largest)
    assert heard.content == "😀" * 4096


async def test_half_closed_stream_ends_after_answers(ada: ChatCall) -> None:
    for number in range(200):
        ada.say(message(key=str(number)))
    ada.end()
    responses, status = await ada.rest()
    assert seqs(response.chat_message for response in responses) == list(range(1, 201))
    assert status is Status.OK


async def test_stream_without_requests_ends(ada: ChatCall) -> None:
    ada.end()
    assert await ada.rest() == ([], Status.OK)
