"""A defect met by a command costs that command only."""

from collections.abc import MutableMapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import betterproto
import pytest
from structlog.testing import capture_logs

from chat.core.encoded import EncodedMessage, Notice
from chat.core.stream import LiveStream
from codec.columns import lengths_of
from gen.chat import (
    Admit,
    Authenticate,
    ChangeMessageRequest,
    ChatMessage,
    ChatMessages,
    ChatServiceStub,
    ChatStream,
    ClientGone,
    Error,
    ErrorCode,
    Join,
    Joined,
    Leave,
    Presence,
    RelayCommand,
    RelayEvent,
    RelayServiceStub,
    RoomPresence,
    Texts,
    Typing,
    Typists,
)
from tests.chat.broken import (
    POISON,
    UNCOUNTABLE,
    UNPLACED,
    UNSAYABLE,
    UNTIMELY,
    AdaAuthenticator,
    BrokenAuthenticator,
    Defect,
    broken_server,
    kinds,
)
from tests.support import ChatCall, RelayCall, message, sent_by, seqs

REF: Final = 10_000
BATCHES: Final = 30
CLIENT: Final = 7
# Valid commands in each half of a batch.
HALF: Final = 4

Lines = list[MutableMapping[str, Any]]


def column(values: list[str]) -> Texts:
    return Texts("".join(values), lengths_of(values))


def poisoned_columns(clients: list[int]) -> ChatMessages:
    """Messages in columns; the middle one is `REF`."""
    return ChatMessages(
        refs=[REF - 2, REF - 1, REF, REF + 1, REF + 2],
        ids=column([f"column {number}" for number in range(5)]),
        room_ids=column(["room"] * 5),
        sender_ids=column(["ada"] * 5),
        contents=column(["before", "before", POISON, "behind", "behind"]),
        clients=clients,
    )


def command(client: int = CLIENT, **payload: Any) -> RelayCommand:
    return RelayCommand(ref=REF, client=client, **payload)


def request(**payload: Any) -> ChatStream:
    return ChatStream(request_id="poisoned", **payload)


COMMANDS: Final = {
    "chat_message": [command(chat_message=message(content=POISON))],
    "chat_messages": [command(chat_messages=poisoned_columns([CLIENT] * 5))],
    "join": [command(join=Join(POISON))],
    "leave": [command(leave=Leave(POISON))],
    "presence": [command(presence=Presence(POISON, active=True))],
    "authenticate": [
        command(client=8, authenticate=Authenticate(POISON)),
        command(client=8, authenticate=Authenticate(UNTIMELY)),
    ],
    "client_gone": [command(client=UNCOUNTABLE, client_gone=ClientGone())],
    "admit": [command(admit=Admit(POISON))],
    "change_message": [
        command(change_message=ChangeMessageRequest(POISON, 1, react="+1")),
        command(change_message=ChangeMessageRequest("room", 1, react=POISON)),
    ],
    "typists": [command(typists=Typists("room", [POISON]))],
    "room_presence": [command(room_presence=RoomPresence("room", 1, [POISON]))],
}
REQUESTS: Final = {
    "chat_message": [
        request(chat_message=message(content=POISON)),
        request(chat_message=message(POISON)),
    ],
    "join": [request(join=Join(POISON))],
    "leave": [request(leave=Leave(POISON))],
    "authenticate": [
        request(authenticate=Authenticate(POISON)),
        request(authenticate=Authenticate(UNTIMELY)),
    ],
    "typing": [request(typing=Typing("room", "ada"))],
}
# Sent by the server only, on `Chat`.
ANSWERS: Final = {"joined", "left", "error", "authenticated"}
TOLD: Final = {"changes", "reads", "mark", "typists", "room_presence"}


def test_every_command_kind_is_tested() -> None:
    assert set(COMMANDS) == kinds(RelayCommand, "command")
    assert set(REQUESTS) | ANSWERS | TOLD == kinds(ChatStream, "payload")


def good(half: int) -> list[RelayCommand]:
    """Half a batch of valid commands."""
    return [
        RelayCommand(ref=100 + number, client=CLIENT, chat_message=message(key=str(number)))
        for number in range(half * HALF, (half + 1) * HALF)
    ]


def beside(poisoned: RelayCommand) -> int:
    """The number of messages in a valid command."""
    return max(len(sent_by(poisoned)) - 1, 0)


def check_internal(error: Error) -> None:
    assert error.code is ErrorCode.INTERNAL
    assert error.message == "internal error"
    assert not error.retryable


def check_told_once(lines: Lines) -> None:
    """Checks that the log has the traceback, once."""
    [line] = [line for line in lines if line["log_level"] == "error"]
    assert isinstance(line["exc_info"], Exception)


async def confirmed(relay: RelayCall, number: int) -> list[RelayEvent]:
    """Returns the events up to this many messages and the answer to `REF`."""
    events: list[RelayEvent] = []
    while number or not any(event.ref == REF for event in events):
        event = await relay.event()
        number -= event.ref != REF
        events.append(event)
    return events


@pytest.mark.parametrize(
    "poisoned",
    [each for kind in COMMANDS.values() for each in kind],
    ids=[f"{kind} {nth}" for kind, each in COMMANDS.items() for nth in range(len(each))],
)
async def test_defect_amid_a_batch(tmp_path: Path, poisoned: RelayCommand) -> None:
    async with AsyncExitStack() as stack:
        _, channel = await stack.enter_async_context(broken_server(tmp_path, BrokenAuthenticator()))
        stub = RelayServiceStub(channel)
        relay, other = [await stack.enter_async_context(RelayCall(stub)) for _ in range(2)]
        for call in (relay, other):
            call.batch(
                RelayCommand(ref=1, client=CLIENT, authenticate=Authenticate("ada")),
                RelayCommand(ref=2, join=Join("room")),
            )
            assert [event.ref for event in await call.events(2)] == [1, 2]
        with capture_logs() as lines:
            for number in range(BATCHES):
                middle = [poisoned] if number == BATCHES // 2 else []
                relay.batch(*good(2 * number), *middle, *good(2 * number + 1))
            number = 2 * BATCHES * HALF + beside(poisoned)
            events = await confirmed(relay, number)
            heard = await other.events(number)
        [refused] = [event for event in events if event.ref]
        assert refused.ref == REF
        check_internal(refused.error)
        check_told_once(lines)
        own = [event.chat_message for event in events if not event.ref]
        assert own == [event.chat_message for event in heard]
        assert seqs(own) == list(range(1, number + 1))
        numbered = [int(each.id) for each in own if each.id.isdecimal()]
        assert numbered == list(range(2 * BATCHES * HALF))
        assert len({each.id for each in own}) == number


@pytest.mark.parametrize("clients", [[], [0] * 5])
async def test_defect_amid_columns_of_guests(tmp_path: Path, clients: list[int]) -> None:
    async with (
        broken_server(tmp_path) as (_, channel),
        RelayCall(RelayServiceStub(channel)) as relay,
    ):
        relay.batch(RelayCommand(ref=1, join=Join("room")))
        await relay.event()
        with capture_logs() as lines:
            relay.batch(RelayCommand(chat_messages=poisoned_columns(clients)))
            events = await confirmed(relay, 4)
        check_told_once(lines)
        assert [event.chat_message.id for event in events if not event.ref] == [
            f"column {number}" for number in (0, 1, 3, 4)
        ]


async def answer(call: ChatCall, request_id: str) -> tuple[ChatStream, list[ChatStream]]:
    """Returns the answer to a request, and the responses before it."""
    before: list[ChatStream] = []
    while (told := await call.receive()).request_id != request_id:
        before.append(told)
    return told, before


@pytest.mark.parametrize(
    "poisoned",
    [each for kind in REQUESTS.values() for each in kind],
    ids=[f"{kind} {nth}" for kind, each in REQUESTS.items() for nth in range(len(each))],
)
async def test_defect_amid_a_stream(tmp_path: Path, poisoned: ChatStream) -> None:
    async with AsyncExitStack() as stack:
        _, channel = await stack.enter_async_context(broken_server(tmp_path, AdaAuthenticator()))
        stub = ChatServiceStub(channel)
        call, other = [await stack.enter_async_context(ChatCall(stub)) for _ in range(2)]
        for each in (call, other):
            await each.enter("room")
        with capture_logs() as lines:
            for number in range(BATCHES):
                call.say(message(key=str(number)), request_id=str(number))
                other.say(message(key=f"other {number}"))
                if number == BATCHES // 2:
                    call.put(poisoned)
            told, before = await answer(call, "poisoned")
            check_internal(told.error)
            after = [await call.receive() for _ in range(2 * BATCHES - len(before))]
            heard = await other.hear_many(2 * BATCHES)
        check_told_once(lines)
        own = [each.chat_message for each in before + after]
        assert own == heard
        assert seqs(own) == list(range(1, 2 * BATCHES + 1))
        answers = [each.request_id for each in before + after if each.request_id]
        assert answers == [str(number) for number in range(BATCHES)]


async def test_failed_delivery_is_reported_as_lost(tmp_path: Path) -> None:
    """The room loses its recovery point, but no stream ends."""
    async with AsyncExitStack() as stack:
        hub, channel = await stack.enter_async_context(broken_server(tmp_path))
        relay = await stack.enter_async_context(RelayCall(RelayServiceStub(channel)))
        stub = ChatServiceStub(channel)
        sender, member = [await stack.enter_async_context(ChatCall(stub)) for _ in range(2)]
        relay.batch(*(RelayCommand(ref=ref, join=Join(f"room {ref}")) for ref in (1, 2)))
        await relay.events(2)
        for call in (sender, member):
            await call.enter("room 1")
            await call.enter("room 2")
        with capture_logs() as lines:
            for content in ("before", UNSAYABLE, "behind"):
                sender.say(message("room 1", content), request_id=content)
                sender.say(message("room 2"))
            told = {}
            for content in ("before", UNSAYABLE, "behind"):
                told[content], _ = await answer(sender, content)
            heard = [await member.receive() for _ in range(6)]
            events = await relay.events(6)
        check_told_once(lines)
        assert told["before"].chat_message.seq == 1
        check_internal(told[UNSAYABLE].error)
        assert told["behind"].chat_message.seq == 3
        check_heard([event.chat_message for event in heard if is_message(event)])
        check_lost([event.joined for event in heard if not is_message(event)], hub.store.epoch)
        check_heard([event.chat_message for event in events if not event.ref])
        assert [event.ref for event in events if event.ref] == [1]
        check_lost([event.joined for event in events if event.ref], hub.store.epoch)


def is_message(told: ChatStream) -> bool:
    return betterproto.which_one_of(told, "payload")[0] == "chat_message"


def check_heard(messages: list[ChatMessage]) -> None:
    assert seqs(each for each in messages if each.room_id == "room 1") == [1, 3]
    assert seqs(each for each in messages if each.room_id == "room 2") == [1, 2, 3]


def check_lost(joined: list[Joined], epoch: str) -> None:
    assert joined == [Joined("room 1", epoch, last_seq=2, recovered=False)]


async def test_failed_delivery_to_its_sender_is_answered(tmp_path: Path) -> None:
    async with (
        broken_server(tmp_path) as (hub, channel),
        RelayCall(RelayServiceStub(channel)) as relay,
    ):
        relay.batch(RelayCommand(ref=1, chat_message=message("room", UNSAYABLE)))
        refused = await relay.event()
        assert refused.ref == 1
        check_internal(refused.error)
        # Joining from before it fails; from behind it works.
        for ref, after_seq in ((2, 0), (3, 1)):
            relay.batch(RelayCommand(ref=ref, join=Join("room", after_seq, hub.store.epoch)))
        told = await relay.events(3)
        assert [event.ref for event in told] == [2, 2, 3]
        check_internal(told[1].error)
        assert told[2].joined.recovered


async def test_failed_confirmation_affects_no_other(tmp_path: Path) -> None:
    async with (
        broken_server(tmp_path) as (_, channel),
        RelayCall(RelayServiceStub(channel)) as relay,
    ):
        relay.batch(*(RelayCommand(ref=ref, join=Join(f"room {ref}")) for ref in (1, 2)))
        await relay.events(2)
        with capture_logs() as lines:
            relay.batch(
                RelayCommand(ref=3, chat_message=message("room 2")),
                RelayCommand(ref=REF, chat_message=message("room 1", UNPLACED)),
                RelayCommand(ref=4, chat_message=message("room 2")),
            )
            events = await confirmed(relay, 2)
        check_told_once(lines)
        assert [event.ref for event in events] == [0, REF, 0]
        check_internal(events[1].error)
        assert seqs(event.chat_message for event in events if not event.ref) == [1, 2]


class Deaf(LiveStream):
    """A member whose delivery fails."""

    def __init__(self) -> None:
        super().__init__(1000)
        self.lost: list[int] = []

    def deliver(self, message: EncodedMessage) -> None:  # noqa: ARG002 - of the protocol
        raise Defect

    def tell(self, notice: Notice) -> None:  # noqa: ARG002 - of the protocol
        raise Defect

    def missed(self, message: ChatMessage) -> None:
        self.lost.append(message.seq)

    def renewed(self, room_id: str, last_seq: int) -> None:
        raise NotImplementedError


async def test_failing_member_affects_no_other(tmp_path: Path) -> None:
    async with (
        broken_server(tmp_path) as (hub, channel),
        ChatCall(ChatServiceStub(channel)) as first,
        ChatCall(ChatServiceStub(channel)) as last,
    ):
        deaf = Deaf()
        await first.enter("room")
        await hub.enter(deaf, "room")
        await last.enter("room")
        with capture_logs() as lines:
            for _ in range(3):
                first.say(message())
            for call in (first, last):
                assert seqs(await call.hear_many(3)) == [1, 2, 3]
        check_told_once(lines)
        assert deaf.lost == [1, 2, 3]
        hub.close(deaf)
