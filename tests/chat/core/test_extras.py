"""What a message has beside its text, and requests to change it: at each edge and one past it."""

from contextlib import suppress

import betterproto
import pytest
from hypothesis import given
from hypothesis import strategies as st

import codec
from chat.core.extras import check_change, check_extra, has_extra
from chat.core.rules import Limits, Rules
from chat.errors import InvalidArgument
from gen.chat import (
    ChangeMessageRequest,
    ChatMessage,
    Delete,
    MessageExtra,
    MessageState,
    Reaction,
)
from tests.support import message

RULES = Rules(Limits())


def with_extra(extra: MessageExtra) -> ChatMessage:
    """A message as it comes over the wire."""
    sent = message()
    sent.extra = extra
    return codec.decode(ChatMessage, codec.encode(sent))


def refusal(extra: MessageExtra) -> str:
    """The text of the refusal; empty if there is none."""
    sent = with_extra(extra)
    before = codec.encode(sent)
    try:
        assert check_extra(RULES, sent) is not None
    except InvalidArgument as error:
        return str(error)
    assert codec.encode(sent) == before, "nothing is put right"
    return ""


@pytest.mark.parametrize(
    "extra",
    [
        MessageExtra(reply_to=1),
        MessageExtra(reply_to=2**32 - 1),
        MessageExtra(mentions=[f"user {number}" for number in range(50)]),
        MessageExtra(mentions=["😀" * 64]),
        MessageExtra(mentions_room=True),
        MessageExtra(data="x" * 4096),
        MessageExtra(data="ä" * 2048),
        MessageExtra(data='{"any": "\x01\n"}'),
    ],
)
def test_extras(extra: MessageExtra) -> None:
    assert refusal(extra) == ""


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        (MessageExtra(reply_to=0), "reply_to: must be at least 1"),
        (
            MessageExtra(mentions=[str(n) for n in range(51)]),
            "mentions: must have at most 50 users",
        ),
        (MessageExtra(mentions=["ada", "bob", "ada"]), "mentions: must have each user once"),
        (MessageExtra(mentions=["ada", ""]), "mentions[1]: must not be empty"),
        (MessageExtra(mentions=["x" * 65]), "mentions[0]: must have at most 64 characters"),
        (MessageExtra(mentions=["a\nb"]), "mentions[0]: must not contain control characters"),
        (MessageExtra(data="x" * 4097), "data: must have at most 4096 bytes of UTF-8"),
        (MessageExtra(data="ä" * 2048 + "x"), "data: must have at most 4096 bytes of UTF-8"),
        (MessageExtra(data="a\0"), "data: must not contain NUL"),
    ],
)
def test_wrong_extras_are_named(extra: MessageExtra, told: str) -> None:
    assert refusal(extra) == f"chat_message.extra.{told}"


STATE = MessageState(change=7, pinned=True, reactions=[Reaction("x", 1, ["ada"])])


@pytest.mark.parametrize("extra", [MessageExtra(), MessageExtra(state=STATE)])
def test_nothing_is_left_of_an_empty_extra(extra: MessageExtra) -> None:
    sent = with_extra(extra)
    assert has_extra(sent)
    assert check_extra(RULES, sent) is None
    assert codec.encode(sent) == codec.encode(message())
    assert not has_extra(sent)


def test_state_of_a_client_is_dropped() -> None:
    sent = with_extra(MessageExtra(mentions=["bob"], state=STATE))
    assert check_extra(RULES, sent) is not None
    assert codec.encode(sent) == codec.encode(with_extra(MessageExtra(mentions=["bob"])))


def test_plain_message_has_no_extra() -> None:
    sent = codec.decode(ChatMessage, codec.encode(message()))
    assert not has_extra(sent)
    assert check_extra(RULES, sent) is None
    assert not has_extra(sent)


def change(**asked: object) -> ChangeMessageRequest:
    return ChangeMessageRequest("room", 1, "ada", **asked)  # type: ignore[arg-type]  # by its name


@pytest.mark.parametrize(
    "asked",
    [
        change(content="x" * 16384),
        change(delete=Delete()),
        change(react="👍"),
        change(react="x" * 32),
        change(react="ä" * 16),
        change(unreact="👩‍👩‍👧‍👦"),
        change(react="plus one"),
        change(pinned=False),
        change(pinned=True, if_change=0),
        ChangeMessageRequest("room", 2**32 - 1, "", react="x"),
    ],
)
def test_changes(asked: ChangeMessageRequest) -> None:
    check_change(RULES, asked)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            change(),
            "change: expected one of content, delete, react, unreact, pinned",
        ),
        (ChangeMessageRequest("", 1, "ada", react="x"), "room_id: must not be empty"),
        (ChangeMessageRequest("room", 0, "ada", react="x"), "seq: must be at least 1"),
        (change(content=""), "content: must not be empty"),
        (change(content="x" * 16385), "content: must have at most 16384 bytes of UTF-8"),
        (change(content="a\0"), "content: must not contain NUL"),
        (change(react=""), "react: must not be empty"),
        (change(unreact=""), "unreact: must not be empty"),
        (change(react="x" * 33), "react: must have at most 32 bytes of UTF-8"),
        (change(unreact="ä" * 16 + "x"), "unreact: must have at most 32 bytes of UTF-8"),
        (change(react="\x00"), "react: must not contain control characters"),
        (change(react="a\u2028b"), "react: must not contain control characters"),
    ],
)
def test_wrong_changes_are_named(asked: ChangeMessageRequest, told: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_change(RULES, asked)
    assert str(refused.value) == told


@given(st.text(), st.sampled_from(["react", "unreact", "content"]))
def test_any_text_is_refused_or_short(text: str, kind: str) -> None:
    asked = change(**{kind: text})
    longest = 16384 if kind == "content" else 32
    with suppress(InvalidArgument):
        check_change(RULES, asked)
        assert betterproto.which_one_of(asked, "change") == (kind, text)
        assert 0 < len(text.encode()) <= longest
