"""Generated classes behave as those of betterproto's own compiler."""

import copy
import dataclasses
import pickle
from collections.abc import Callable
from types import ModuleType
from typing import Any

import betterproto
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

import codec
from tests.codec.oracle import betterproto_module

THOROUGH = settings(max_examples=60)  # betterproto is slow

Look = Callable[[Any], object]

LOOKS: dict[str, Look] = {
    "bytes": bytes,
    "len": len,
    "bool": bool,
    "repr": repr,
    "to_dict": lambda message: message.to_dict(),
    "to_json": lambda message: message.to_json(),
    "from_dict": lambda message: bytes(type(message).from_dict(message.to_dict())),
    "from_json": lambda message: bytes(type(message)().from_json(message.to_json())),
    "from_pydict": lambda message: bytes(type(message)().from_pydict(message.to_pydict())),
    "parse": lambda message: bytes(type(message)().parse(bytes(message))),
    "FromString": lambda message: repr(type(message).FromString(bytes(message))),
    "copy": lambda message: repr(copy.copy(message)),
    "deepcopy": lambda message: repr(copy.deepcopy(message)),
    "pickle": lambda message: repr(pickle.loads(pickle.dumps(message))),  # noqa: S301 - our own
    "==": lambda message: message == type(message)().parse(bytes(message)),
    "== empty": lambda message: message == type(message)(),
    "serialized_on_wire": betterproto.serialized_on_wire,
    "is_set": lambda message: [message.is_set(name) for name in names(message)],
    "which_one_of": lambda message: [
        repr(betterproto.which_one_of(message, oneof)) for oneof in oneofs(message)
    ],
    "fields": lambda message: [repr(read(message, name)) for name in names(message)],
}
"""All uses of a message whose result does not depend on its class."""


def names(message: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(message)]


def oneofs(message: Any) -> list[str]:
    metas = (betterproto.FieldMetadata.get(field) for field in dataclasses.fields(message))
    return list(dict.fromkeys(meta.group for meta in metas if meta.group))


def read(message: betterproto.Message, name: str) -> object:
    try:
        return getattr(message, name)
    except AttributeError as error:
        return str(error)


def outcome(look: Look, message: betterproto.Message) -> object:
    try:
        return look(message)
    except Exception as error:  # noqa: BLE001 - betterproto fails in many ways; so do ours
        return type(error), str(error)


@pytest.fixture(scope="module", name="own")
def _own(schema: Any, tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return betterproto_module(schema.package, tmp_path_factory.mktemp("own"))


def test_message_matches_betterproto(schema: Any, own: ModuleType) -> None:
    @THOROUGH
    @given(schema.either())
    def check(drawn: tuple[str, Message]) -> None:
        name, message = drawn
        data = message.SerializeToString()
        for what, look in LOOKS.items():
            ours, theirs = (cls().parse(data) for cls in (schema.ours(name), getattr(own, name)))
            assert outcome(look, ours) == outcome(look, theirs), what

    check()


def test_decoded_message_matches_parsed(schema: Any) -> None:
    @THOROUGH
    @given(schema.either())
    def check(drawn: tuple[str, Message]) -> None:
        name, message = drawn
        data = message.SerializeToString()
        parsed = schema.ours(name)().parse(data)
        decoded = codec.decode(schema.ours(name), data)
        assert repr(decoded) == repr(parsed)

    check()


def test_reading_changes_no_encoding(schema: Any) -> None:
    @THOROUGH
    @given(schema.either())
    def check(drawn: tuple[str, Message]) -> None:
        name, message = drawn
        data = message.SerializeToString()
        ours = codec.decode(schema.ours(name), data)
        before = (codec.to_json(ours), repr(ours))
        for what, look in LOOKS.items():
            if what == "from_pydict":  # to_pydict puts dicts into the message's own maps
                continue
            outcome(look, ours)
            assert codec.encode(ours) == data
            assert (codec.to_json(ours), repr(ours)) == before

    check()


def test_copies_encode_alike(schema: Any) -> None:
    @THOROUGH
    @given(schema.either())
    def check(drawn: tuple[str, Message]) -> None:
        name, message = drawn
        data = message.SerializeToString()
        ours = codec.decode(schema.ours(name), data)
        copies = [copy.copy(ours), copy.deepcopy(ours)]
        if not oneofs(ours):  # dataclasses cannot read an unset member of it
            copies.append(dataclasses.replace(ours))
        for each in copies:
            assert type(each) is type(ours)
            assert codec.encode(each) == data

    check()


def test_assignment_matches_betterproto(schema: Any, own: ModuleType) -> None:
    """Fields of one message are assigned one by one over those of another."""

    @THOROUGH
    @given(pairs(schema))
    def check(drawn: tuple[str, Message, Message]) -> None:
        name, first, second = drawn
        written = []
        for cls in (schema.ours(name), getattr(own, name)):
            target, source = (cls().parse(each.SerializeToString()) for each in (first, second))
            for each in names(source):
                if source.is_set(each):
                    setattr(target, each, getattr(source, each))
            written.append(outcome(bytes, target))
        assert written[0] == written[1]

    check()


def pairs(schema: Any) -> st.SearchStrategy[tuple[str, Message, Message]]:
    return st.sampled_from(schema.names).flatmap(
        lambda name: st.tuples(st.just(name), schema.messages(name), schema.messages(name))
    )
