"""Fuzz targets for the server's handling of live streams."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from functools import cache
from random import Random
from typing import Any, cast

import betterproto
from grpclib.server import Stream

import chat
import codec
from chat.access.identity import GUEST
from chat.api.batches import Columns
from chat.api.chat_stream import ChatConversation
from chat.api.context import Context
from chat.api.conversation import Conversation
from chat.api.relay import RelayConversation
from codec.columns import lengths_of
from gen.chat import (
    ChatMessage,
    ChatMessages,
    ChatStream,
    Error,
    Join,
    Joined,
    JoinFollow,
    Leave,
    Left,
    Presence,
    RelayCommand,
    RelayEvent,
    RelayRequest,
    RelayResponse,
    RoomPresence,
    Stored,
    Texts,
    Typing,
    Typists,
)
from hosting.rate_limits import Rates
from tests.chat.in_memory import in_memory
from tests.clock import ClockLoop, turns
from tests.fuzz.steps import Choices, pieced

_ROOM = "lobby"
_CODES = {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"}
# What is answered only if it is refused.
_UNANSWERED = ("presence", "typists", "room_presence")


@cache
def _loop() -> ClockLoop:
    return ClockLoop()


class _Wire:
    """A stand-in for the connection of a call."""

    def __init__(self) -> None:
        self.connection = self
        self._stream = self


def _call() -> Stream[ChatStream, ChatStream]:
    """A call, of which only the connection is used."""
    return cast("Stream[ChatStream, ChatStream]", _Wire())


class _Sink:
    """The output of a stream."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    async def send_message(self, message: bytes) -> None:
        self.written.append(message)


class _Open:
    """An open stream of a hub.

    Args:
        conversation: the handler of its messages.
    """

    def __init__(self, conversation: Conversation[Any]) -> None:
        self.conversation = conversation
        self._sink = _Sink()
        self._writing = asyncio.create_task(conversation.write_to(self._sink))

    async def close(self) -> list[bytes]:
        """Waits for all replies and closes; returns the written messages."""
        await turns(5)
        self.conversation.finish()
        await self._writing
        self.conversation.hub.close(self.conversation)
        assert not self.conversation.rooms
        return self._sink.written


async def _context() -> Context:
    limits = chat.Limits(content_bytes=1000, rooms_per_stream=3)
    return await in_memory(chat.Config(database=chat.IN_MEMORY, limits=limits, rates=Rates()))


async def _witness(context: Context) -> _Open:
    """Another client, in a room from the start: it must miss nothing."""
    witness = _Open(ChatConversation(context, GUEST, _call()))
    await witness.conversation.receive(ChatStream(join=Join(_ROOM)))
    return witness


async def _check_witness(witness: _Open) -> None:
    store = witness.conversation.hub.store
    told = [codec.decode(ChatStream, each) for each in await witness.close()]
    assert told[0].joined == Joined(_ROOM, store.epoch, 0, recovered=False)
    seen = [each.chat_message.seq for each in told[1:]]
    assert seen == list(range(1, await store.last_seq(_ROOM) + 1))
    witness.conversation.hub.stop()


def _check_error(error: Error) -> None:
    assert error.code.name in _CODES
    assert error.message.isprintable()
    assert not error.retryable


def talk(data: bytes) -> None:
    """Client messages on `Chat`: each gets one reply, unless it says that somebody types."""
    _loop().run_until_complete(_talk(data))


async def _talk(data: bytes) -> None:
    context = await _context()
    witness, stream = await _witness(context), _Open(ChatConversation(context, GUEST, _call()))
    asked: list[ChatStream] = []
    for piece in Choices(data).pieces():
        try:
            request = codec.decode(ChatStream, piece)
        except codec.DecodeError:
            break  # which ends the call
        request.request_id = str(len(asked))
        asked.append(request)
        await stream.conversation.receive(request)
    told = [codec.decode(ChatStream, each) for each in await stream.close()]
    answers = {each.request_id: each for each in told if each.request_id is not None}
    assert sum(each.request_id is not None for each in told) == len(answers)
    for request in asked:
        answer = answers.pop(request.request_id or "", None)
        if answer is None:
            assert isinstance(request.payload, Typing)
        else:
            _check_answer(request, answer)
    assert not answers
    await _check_witness(witness)


def _check_answer(request: ChatStream, answer: ChatStream) -> None:
    wanted, sent = betterproto.which_one_of(request, "payload")
    match answer.payload:
        case Error() as error:
            _check_error(error)
        case ChatMessage() as got:
            assert isinstance(sent, ChatMessage)
            assert (got.room_id, got.sender_id) == (sent.room_id, sent.sender_id)
            assert not sent.id or got.id == sent.id
            assert got.seq >= 1
        case Joined() | Left() as got:
            assert isinstance(sent, Join | Leave)
            assert wanted == ("join" if isinstance(got, Joined) else "leave")
            assert got.room_id == sent.room_id
        case _:
            raise AssertionError(answer)


def relay(data: bytes) -> None:
    """Proxy commands on `Relay`: each gets a reply, and rooms have no gaps."""
    _loop().run_until_complete(_relay(data))


async def _relay(data: bytes) -> None:
    context = await _context()
    witness, stream = await _witness(context), _Open(RelayConversation(context, GUEST))
    asked: dict[int, RelayCommand] = {}
    for piece in Choices(data).pieces():
        try:
            batch = codec.decode(RelayRequest, piece)
        except codec.DecodeError:
            break
        numbered = dict(asked)
        if not all(_number(command, numbered) for command in batch.commands):
            break
        asked.update(numbered)
        await stream.conversation.receive(batch)
    told = [codec.decode(RelayResponse, each).events for each in await stream.close()]
    _Proxy(asked).hear(event for events in told for event in events)
    await _check_witness(witness)


def _number(command: RelayCommand, asked: dict[int, RelayCommand]) -> bool:
    """Numbers a command, or each of its messages; returns whether it is well-formed."""
    kind, _ = betterproto.which_one_of(command, "command")
    if kind != "chat_messages":
        command.ref = len(asked) + 1
        asked[command.ref] = command
        return True
    sent = command.chat_messages
    try:
        messages = [message for _, _, message in Columns(sent)]
    except codec.DecodeError:
        return False
    first = len(asked) + 1
    sent.refs = list(range(first, first + len(messages)))
    asked.update(
        (ref, RelayCommand(ref=ref, chat_message=each)) for ref, each in enumerate(messages, first)
    )
    return True


def _columns(messages: list[ChatMessage]) -> ChatMessages:
    def column(texts: list[str]) -> Texts:
        return Texts("".join(texts), lengths_of(texts))

    return ChatMessages(
        refs=[0] * len(messages),
        ids=column([each.id for each in messages]),
        room_ids=column([each.room_id for each in messages]),
        sender_ids=column([each.sender_id for each in messages]),
        contents=column([each.content for each in messages]),
        clients=[0] * len(messages),
    )


class _Proxy:
    """A proxy's view of the replies.

    Args:
        asked: its commands, by their references.
    """

    def __init__(self, asked: dict[int, RelayCommand]) -> None:
        self._asked = asked
        self._answers: Counter[int] = Counter()
        self._last: dict[str, int] = {}

    def hear(self, events: Iterable[RelayEvent]) -> None:
        for event in events:
            self._hear(event)
        for ref, command in self._asked.items():
            kind, _ = betterproto.which_one_of(command, "command")
            # A message may be confirmed as stored, and also be answered.
            least, most = {**dict.fromkeys(_UNANSWERED, (0, 1)), "chat_message": (1, 2)}.get(
                kind, (1, 1)
            )
            assert least <= self._answers[ref] <= most, command

    def _hear(self, event: RelayEvent) -> None:
        _, payload = betterproto.which_one_of(event, "event")
        if event.ref:
            self._answers[event.ref] += 1
        match payload:
            case Error():
                _check_error(payload)
            case Joined():
                join = self._asked[event.ref].join
                after = join.after_seq or 0
                self._last[payload.room_id] = after if payload.recovered else payload.last_seq
            case Left():
                self._last.pop(payload.room_id, None)
            case ChatMessage() if not event.ref:
                self._follow(payload.room_id, payload.seq)
            case Stored():
                for ref, seq in zip(payload.refs, payload.seqs, strict=True):
                    self._answers[ref] += 1
                    self._follow(self._asked[ref].chat_message.room_id, seq)

    def _follow(self, room_id: str, seq: int) -> None:
        assert seq == self._last[room_id] + 1
        self._last[room_id] = seq


def _made_up(random: Random) -> list[Any]:
    rooms = ["lobby", "attic", "", "x" * 65, "a\nb"]
    room_id = random.choice(rooms[: random.choice([2, 2, 5])])
    message = ChatMessage(
        id=random.choice(["", "1", "2"]),
        room_id=room_id,
        sender_id=random.choice(["ada", "bob", ""]),
        content=random.choice(["hello", "", "\0", "x" * 999]),
    )
    follow = random.sample([1, 2, 3, 4], random.randint(0, 4))
    user_id = random.choice(["", "ada", "\u200b"])
    after_seq, epoch = random.choice([None, 0, 1, 9]), random.choice([None, "", "e"])
    join = Join(room_id, after_seq, epoch, [JoinFollow(each) for each in follow], user_id=user_id)
    return [message, join, Leave(room_id)]


def _people(random: Random, room_id: str) -> tuple[Typing, Typists, RoomPresence]:
    users = random.choices(["ada", "bob", "", "\u200b"], k=random.randint(0, 6))
    number = random.choice([0, len(users), 1 << 31])
    return (
        Typing(room_id, random.choice(["ada", "", "a\nb"])),
        Typists(room_id, users, number),
        RoomPresence(room_id, number, users),
    )


def seeds() -> tuple[list[bytes], list[bytes]]:
    """Plausible messages of clients and proxies, for `talk` and `relay`."""
    random = Random(3)  # noqa: S311 - made up, not secret
    talks, relays = [], []
    for _ in range(30):
        said, batched = [], []
        for _ in range(random.randint(1, 8)):
            message, join, leave = _made_up(random)
            typing, typists, room_presence = _people(random, message.room_id)
            said.append(
                random.choice(
                    [
                        ChatStream(chat_message=message),
                        ChatStream(join=join),
                        ChatStream(leave=leave),
                        ChatStream(typing=typing),
                    ]
                )
            )
            presence = Presence("ada", active=random.random() < 0.5)
            commands = [
                RelayCommand(chat_message=message),
                RelayCommand(join=join),
                RelayCommand(leave=leave),
                RelayCommand(presence=presence),
                RelayCommand(typists=typists),
                RelayCommand(room_presence=room_presence),
                RelayCommand(chat_messages=_columns([message, *_made_up(random)[:1]])),
            ]
            batched.append(RelayRequest(commands=random.sample(commands, random.randint(1, 5))))
        talks.append(pieced([codec.encode(each) for each in said]))
        relays.append(pieced([codec.encode(each) for each in batched]))
    return talks, relays
