"""A valid message that cannot be stored fails alone, and for good."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import apsw
from betterproto import which_one_of
from grpclib.client import Channel
from structlog.testing import capture_logs

import chat
from gen.chat import (
    ChatServiceStub,
    Error,
    ErrorCode,
    GetChatHistoryRequest,
    Join,
    RelayCommand,
    RelayServiceStub,
    UpsertUserRequest,
)
from tests.support import ChatCall, RelayCall, message, refusal

REFUSAL = Error(code=ErrorCode(ErrorCode.INTERNAL), message="internal error", retryable=False)


@contextmanager
def refusing(config: chat.Config, text: str) -> Iterator[None]:
    """Makes the database refuse rows that contain a text."""
    other = apsw.Connection(config.database)
    for table, column in (("journal", "batch"), ("users", "name")):
        other.execute(
            f"CREATE TRIGGER refuse_{table} BEFORE INSERT ON {table}"
            f" WHEN instr(new.{column}, '{text}') BEGIN SELECT raise(ABORT, 'refused'); END"
        )
    other.close()
    with capture_logs():
        yield


async def test_unstorable_message_of_batch_fails_alone(
    chat_config: chat.Config, channel: Channel, stub: ChatServiceStub
) -> None:
    async with RelayCall(RelayServiceStub(channel)) as relay, ChatCall(stub) as bob:
        await bob.enter("room")
        relay.batch(RelayCommand(ref=1, join=Join("room")))
        await relay.event()
        contents = ["a", "b", "poison", "c", "d"]
        with refusing(chat_config, "poison"):
            relay.batch(
                *(
                    RelayCommand(ref=ref, chat_message=message(content=content, key=f"{ref}"))
                    for ref, content in enumerate(contents, start=2)
                ),
                RelayCommand(ref=9, chat_message=message("elsewhere", key="9")),
            )
            events = await relay.events(6)
        refused = [event for event in events if which_one_of(event, "event")[0] == "error"]
        stored = [event.chat_message for event in events if event not in refused]
        assert [(each.content, each.seq) for each in stored] == [
            *(("a", 1), ("b", 2), ("c", 3), ("d", 4)),
            ("hello", 1),
        ]
        assert [(event.ref, event.error) for event in refused] == [(4, REFUSAL)]
        assert [each.content for each in await bob.hear_many(4)] == ["a", "b", "c", "d"]
        # No state is left: the stream goes on.
        relay.batch(RelayCommand(ref=10, chat_message=message(key="10")))
        assert (await relay.event()).chat_message.seq == 5


async def test_unstorable_message_of_commit_fails_alone(
    chat_config: chat.Config, stub: ChatServiceStub
) -> None:
    async with ChatCall(stub) as ada, ChatCall(stub) as eve:
        await ada.enter("room")
        await eve.enter("elsewhere")
        with refusing(chat_config, "poison"):
            for number in range(20):
                ada.say(message(key=f"{number}"), request_id=f"{number}")
                eve.say(message("elsewhere", "poison", key=f"{number}"), request_id=f"{number}")
            async with asyncio.TaskGroup() as group:
                confirmed = [group.create_task(ada.hear_many(20))]
                refused = [await eve.receive() for _ in range(20)]
            page = await stub.get_chat_history(GetChatHistoryRequest("room", limit=50))
        assert [each.seq for each in confirmed[0].result()] == list(range(1, 21))
        assert [each.error for each in refused] == [REFUSAL] * 20
        assert [each.request_id for each in refused] == [f"{number}" for number in range(20)]
        assert page.messages == confirmed[0].result()


async def test_unstorable_upsert_is_refused_for_good(
    chat_config: chat.Config, stub: ChatServiceStub
) -> None:
    with refusing(chat_config, "poison"):
        told = await refusal(stub.upsert_user(UpsertUserRequest("ada", "poison")))
    assert told == "INTERNAL: internal error"
    assert (await stub.upsert_user(UpsertUserRequest("ada", "Ada"))).user.name == "Ada"
