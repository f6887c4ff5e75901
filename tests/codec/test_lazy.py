"""Fields that hold their messages encoded: nobody sees a difference, and only what is sound."""

import copy
import dataclasses
from collections.abc import Iterator
from typing import Any

import betterproto
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import codec
from codec.lazy import check, hold
from codec.objects import held_name
from gen.chat import ChatMessage, MessageExtra, MessageState, Reaction, User
from tests.codec.oracle import Case
from tests.codec.test_hostile_bytes import concatenated, garbage, mutated
from tests.codec.test_oracle import LOOKS


def lazy_fields(case: Case) -> Iterator[Any]:
    for field in case.message.DESCRIPTOR.fields:
        # It means nothing in a list, nor where a field may be None.
        if field.GetOptions().lazy and not (field.is_repeated or field.containing_oneof):
            yield field


def holding(case: Case) -> betterproto.Message:
    """The message, with all that it may hold encoded."""
    message = case.decoded
    for field in lazy_fields(case):
        if case.message.HasField(field.name):
            hold(message, field.name, getattr(case.message, field.name).SerializeToString())
    return message


@pytest.fixture(name="case", params=["ChatMessage", "Lazies"])
def _case(
    request: pytest.FixtureRequest, chat_schema: Any, kitchen: Any
) -> st.SearchStrategy[Case]:
    """Random messages with lazy fields."""
    schema = kitchen if request.param == "Lazies" else chat_schema
    found: st.SearchStrategy[Case] = schema.case(request.param)
    return found


def test_nobody_sees_a_difference(case: st.SearchStrategy[Case]) -> None:
    @settings(max_examples=50)
    @given(case)
    def holds(case: Case) -> None:
        assert codec.encode(holding(case)) == case.data
        assert codec.to_json(holding(case)) == codec.to_json(case.decoded)
        message: Any = holding(case)
        assert codec.encode(dataclasses.replace(message)) == case.data
        assert codec.encode(copy.deepcopy(holding(case))) == case.data
        for look in ("repr", "len", "bool", "copy", "is_set"):
            assert repr(LOOKS[look](holding(case))) == repr(LOOKS[look](case.decoded))
        for field in lazy_fields(case):
            mine, theirs = holding(case), case.decoded
            assert repr(getattr(mine, field.name)) == repr(getattr(theirs, field.name))
            # It is the message from now on, and may change.
            assert type(getattr(mine, held_name(field.name))) is not bytes
            assert getattr(mine, field.name) is getattr(mine, field.name)
            assert codec.encode(mine) == case.data

    holds()


def test_what_is_read_may_change() -> None:
    message = ChatMessage(id="1")
    hold(message, "extra", codec.encode(MessageExtra(data="x", state=MessageState(change=1))))
    assert type(message.held_extra) is bytes
    message.extra.state.change = 2
    assert codec.decode(ChatMessage, codec.encode(message)).extra.state.change == 2
    hold(message, "extra", b"")
    assert codec.encode(message) == b"\x0a\x011\x3a\x00"
    message.extra = MessageExtra(data="y")
    assert type(message.held_extra) is not bytes
    assert message == ChatMessage(id="1", extra=MessageExtra(data="y"))


@pytest.mark.parametrize("hostile", [garbage, concatenated, mutated])
def test_only_what_can_be_decoded_is_sound(schema: Any, hostile: Any) -> None:
    names = [name for name in schema.names if is_checked(schema.ours(name))]

    @settings(max_examples=50)
    @given(st.sampled_from(names), st.data())
    def agree(name: str, draw: st.DataObject) -> None:
        cls = schema.ours(name)
        encoded = schema.messages(name).map(lambda message: message.SerializeToString())
        data = draw.draw(hostile(encoded))
        refusal = None
        try:
            check(cls, b"")
            check(cls, data)
        except codec.DecodeError as error:
            refusal = error
        try:
            codec.decode(cls, data)
        except codec.DecodeError:
            assert refusal is not None
        else:
            assert refusal is None or refusal.reason == "a message occurs twice"

    agree()


def is_checked(cls: type[betterproto.Message]) -> bool:
    try:
        check(cls, b"")
    except TypeError:
        return False
    return True


def test_only_what_may_be_held_is_checked(kitchen: Any) -> None:
    assert all(is_checked(cls) for cls in (MessageExtra, MessageState, Reaction))
    assert all(is_checked(kitchen.ours(name)) for name in ("Tree", "TreeBranch", "Optionals"))
    with pytest.raises(TypeError, match="no lazy field holds a User"):
        check(User, b"")
    assert not is_checked(kitchen.ours("Lazies"))
