"""A full disk: senders are refused, nobody else is affected."""

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
from tests.chat.storage.files import full_disk
from tests.support import ChatCall, RelayCall, message, refusal, seqs

REFUSAL = Error(
    code=ErrorCode(ErrorCode.UNAVAILABLE),
    message="the message could not be stored",
    retryable=True,
)


async def test_full_disk_refuses_a_sender_for_now(
    chat_config: chat.Config, stub: ChatServiceStub
) -> None:
    async with ChatCall(stub) as ada, ChatCall(stub) as bob:
        await bob.enter("room")
        await ada.post(message(key="1"))
        with full_disk(chat_config.database), capture_logs():
            for key in ("2", "3"):
                ada.say(message(key=key), request_id=key)
                refused = await ada.receive()
                assert (refused.request_id, refused.error) == (key, REFUSAL)
            page = await stub.get_chat_history(GetChatHistoryRequest("room"))
            assert seqs(page.messages) == [1]
        for key in ("3", "2"):
            ada.say(message(key=key), request_id=key)
            assert (await ada.receive()).request_id == key
        assert [(m.id, m.seq) for m in await bob.hear_many(3)] == [("1", 1), ("3", 2), ("2", 3)]


async def test_full_disk_refuses_each_relay_message(
    chat_config: chat.Config, channel: Channel
) -> None:
    async with RelayCall(RelayServiceStub(channel)) as relay:
        relay.batch(RelayCommand(ref=1, join=Join("room")))
        relay.batch(RelayCommand(ref=2, chat_message=message(key="a")))
        await relay.events(2)
        commands = [RelayCommand(ref=ref, chat_message=message(key=f"{ref}")) for ref in (3, 4)]
        with full_disk(chat_config.database), capture_logs():
            relay.batch(*commands)
            refused = await relay.events(2)
        assert [(event.ref, event.error) for event in refused] == [(3, REFUSAL), (4, REFUSAL)]
        relay.batch(*commands)
        assert seqs(event.chat_message for event in await relay.events(2)) == [2, 3]


async def test_full_disk_refuses_an_upsert(chat_config: chat.Config, stub: ChatServiceStub) -> None:
    await stub.upsert_user(UpsertUserRequest("bob", "Bob"))
    with full_disk(chat_config.database), capture_logs():
        told = await refusal(stub.upsert_user(UpsertUserRequest("ada", "Ada")))
    assert told == "UNAVAILABLE: the user could not be stored"
    assert (await stub.upsert_user(UpsertUserRequest("ada", "Ada"))).user.name == "Ada"
