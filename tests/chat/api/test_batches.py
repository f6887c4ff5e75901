"""`Relay`: messages in columns, each handled as if sent alone."""

from collections.abc import Callable, Sequence

import pytest
from grpclib import Status
from hypothesis import given
from hypothesis import strategies as st

import codec
from chat.access.identity import GUEST
from chat.api.batches import Columns
from chat.api.relay import MOST_COMMANDS, RelayConversation
from chat.core.rules import Limits, Rules
from chat.errors import InvalidArgument
from chat.storage.listener import Listener
from chat.storage.memory import MemoryStore
from codec.columns import lengths_of, split
from gen.chat import (
    ChatMessage,
    ChatMessages,
    ErrorCode,
    Join,
    Leave,
    RelayCommand,
    RelayRequest,
    Texts,
)
from tests.chat.in_memory import with_store
from tests.clock import turns
from tests.support import RelayCall, message

RULES = Rules(Limits(content_bytes=16, id_length=3))

texts = st.text(st.characters(codec="utf-8"), max_size=5)
# Most are valid.
names = st.sampled_from(["", "a", "äöü", "abcd", "a\n", "\u2028"]) | texts
contents = st.sampled_from(["", "hello", "\0", "four", "😀" * 4, "😀" * 5, "a" * 16, "a" * 17])
messages = st.builds(ChatMessage, id=names, room_id=names, sender_id=names, content=contents)


def column(values: list[str]) -> Texts:
    return Texts("".join(values), lengths_of(values))


def columns(sent: list[ChatMessage], first_ref: int = 1) -> ChatMessages:
    return ChatMessages(
        refs=list(range(first_ref, first_ref + len(sent))),
        ids=column([each.id for each in sent]),
        room_ids=column([each.room_id for each in sent]),
        sender_ids=column([each.sender_id for each in sent]),
        contents=column([each.content for each in sent]),
    )


def batch(sent: list[ChatMessage], first_ref: int = 1) -> RelayCommand:
    return RelayCommand(chat_messages=columns(sent, first_ref))


def decoded(sent: ChatMessages) -> Columns:
    return Columns(codec.decode(ChatMessages, codec.encode(sent)))


@given(st.lists(texts))
def test_joined_columns_are_split(values: list[str]) -> None:
    assert split("".join(values), lengths_of(values)) == values


@pytest.mark.parametrize(("joined", "lengths"), [("abc", [1, 1]), ("abc", [4]), ("", [1])])
def test_wrong_lengths_are_refused(joined: str, lengths: list[int]) -> None:
    with pytest.raises(codec.DecodeError, match="another length"):
        split(joined, lengths)


def is_in_order(sent: ChatMessage) -> bool:
    try:
        RULES.message(sent)
    except InvalidArgument:
        return False
    return True


@given(st.lists(messages, max_size=6))
def test_bulk_check_matches_single_checks(sent: list[ChatMessage]) -> None:
    """The bulk check passes nothing that a single check refuses."""
    if decoded(columns(sent)).obeys(RULES):
        assert all(map(is_in_order, sent))


def test_bulk_check_passes_plain_messages() -> None:
    sent = [message("ä" * 3, "four", sender_id="x", key=""), message("a", "x", key="abc")]
    assert decoded(columns(sent)).obeys(RULES)


async def test_columns_are_stored_in_order(relay: RelayCall) -> None:
    relay.batch(RelayCommand(ref=1, join=Join("room")))
    assert (await relay.event()).joined.room_id == "room"
    sent = [message(content=f"text {number} ☃", key=str(number)) for number in range(10)]
    relay.batch(batch(sent, first_ref=2))
    heard = await relay.events(10)
    assert [(each.chat_message.id, each.chat_message.seq) for each in heard] == [
        (str(number), number + 1) for number in range(10)
    ]
    assert [each.chat_message.content for each in heard] == [each.content for each in sent]
    # Delivered messages are not answered as well.
    assert not any(each.ref for each in heard)
    relay.batch(RelayCommand(ref=99, leave=Leave("room")))
    assert (await relay.event()).ref == 99


async def test_invalid_message_is_refused_alone(relay: RelayCall) -> None:
    sent = [
        message(key="1"),
        message(""),
        message(sender_id="a\nb"),
        message(content=""),
        message(),
    ]
    relay.batch(batch(sent))
    answers = {}
    for _ in range(5):
        event = await relay.event()
        answers[event.ref] = event
    assert {ref: event.error.message for ref, event in answers.items() if ref in (2, 3, 4)} == {
        2: "chat_message.room_id: must not be empty",
        3: "chat_message.sender_id: must not contain control characters",
        4: "chat_message.content: must not be empty",
    }
    assert answers[2].error.code is ErrorCode.INVALID_ARGUMENT
    assert answers[1].chat_message.seq == 1
    # A message without an id gets one.
    assert answers[5].chat_message.seq == 2
    assert answers[5].chat_message.id


async def test_repeat_in_columns_is_stored_once(relay: RelayCall) -> None:
    relay.batch(batch([message(key="1"), message(content="another", key="1")]))
    first, second = await relay.event(), await relay.event()
    assert {first.ref, second.ref} == {1, 2}
    assert first.chat_message.seq == second.chat_message.seq == 1
    assert first.chat_message.content == second.chat_message.content == "hello"


async def test_large_columns_are_all_stored(relay: RelayCall) -> None:
    """More than one commit takes."""
    relay.batch(batch([message(content="x" * 16_000, key=str(number)) for number in range(12)]))
    answers = [await relay.event() for _ in range(12)]
    assert [answer.chat_message.seq for answer in answers] == list(range(1, 13))


async def test_large_columns_are_stored_in_parts() -> None:
    """All may be for one room, whose readers receive a commit at once."""
    parts: list[Sequence[ChatMessage]] = []

    context, _ = await with_store(lambda _: MemoryStore(Listener(parts.append)))
    connection = RelayConversation(context, GUEST)
    for start in (0, 10):  # behind others, and alone
        sent = [message(content="x" * 4000, key=f"{start} {number}") for number in range(16)]
        few = [message(content="x" * 4000, key=f"{start} few {number}") for number in range(4)]
        request = codec.encode(RelayRequest(commands=[batch(few, 1), batch(sent, 5)]))
        await connection.receive(codec.decode(RelayRequest, request))
    await turns(5)
    assert sum(map(len, parts)) == 40
    assert max(sum(len(each.content) for each in part) for part in parts) <= 64 * 1024 + 4000


def without_a_ref(sent: ChatMessages) -> None:
    sent.refs.pop()


def without_a_column(sent: ChatMessages) -> None:
    sent.sender_ids = Texts()


def with_a_client_too_few(sent: ChatMessages) -> None:
    sent.clients = [0]


def with_a_length_too_many(sent: ChatMessages) -> None:
    sent.ids.lengths.append(0)


def with_a_text_too_long(sent: ChatMessages) -> None:
    sent.contents.joined += "x"


@pytest.mark.parametrize(
    "damage",
    [
        without_a_ref,
        without_a_column,
        with_a_client_too_few,
        with_a_length_too_many,
        with_a_text_too_long,
    ],
)
async def test_inconsistent_columns_end_the_stream(
    relay: RelayCall, damage: Callable[[ChatMessages], None]
) -> None:
    sent = columns([message(key="1"), message(key="2")])
    damage(sent)
    relay.put(RelayRequest(commands=[RelayCommand(chat_messages=sent)]))
    assert await relay.rest() == ([], Status.INVALID_ARGUMENT)


@pytest.mark.parametrize(("more", "status"), [(0, Status.OK), (1, Status.RESOURCE_EXHAUSTED)])
async def test_batch_bound_counts_all_columns(relay: RelayCall, more: int, status: Status) -> None:
    half = MOST_COMMANDS // 2
    # None is valid: all are counted, and answered.
    relay.batch(
        RelayCommand(chat_messages=columns([ChatMessage()] * half)),
        RelayCommand(chat_messages=columns([ChatMessage()] * (half + more))),
    )
    relay.end()
    _, ended = await relay.rest()
    assert ended is status
