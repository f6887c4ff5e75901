"""Random messages, compared with google's protobuf library and with betterproto's classes."""

import copy
import dataclasses
import json
import pickle
from collections.abc import Callable
from types import ModuleType
from typing import Any

import betterproto
import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from hypothesis import strategies as st

import codec
from tests.codec.oracle import Case, all_messages, betterproto_module, compare, same

# Field 20,000, of each wire type.
NOT_KNOWN = b"\x80\xe2\x09\x01\x82\xe2\x09\x01x\x83\xe2\x09\x84\xe2\x09\x85\xe2\x091234"

NEGATIVE = b"\xff\xff\xff\x01"

# Properties of any message.


def bytes_match_google(case: Case) -> None:
    assert codec.encode(case.decoded) == case.data


def unknown_fields_are_dropped_at_any_depth(case: Case) -> None:
    ours = case.decoded
    for each in all_messages(ours):
        vars(each)["_unknown_fields"] = NOT_KNOWN
    longer = codec.encode(ours)
    assert NOT_KNOWN in longer
    compare(case.schema, case.name, longer)
    assert codec.encode(codec.decode(case.cls, longer)) == case.data


def json_matches_google(case: Case) -> None:
    theirs = json_format.MessageToDict(
        case.message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    # A round trip: a dict may hold values that JSON cannot.
    assert json.loads(codec.to_json(case.decoded)) == json.loads(json.dumps(theirs))


def json_round_trip(case: Case) -> None:
    ours = case.decoded
    again = codec.from_json(case.cls, codec.to_json(ours))
    assert repr(again) == repr(ours)  # ==, except for NaN in a list or map


def constructors_and_copies_agree(case: Case) -> None:
    decoded: Any = case.decoded
    cls = case.cls
    given = {each: getattr(decoded, each) for each in names(decoded) if decoded.is_set(each)}
    assigned = cls()
    for each, value in given.items():
        setattr(assigned, each, value)
    copies = [cls(**given), assigned, copy.copy(decoded), copy.deepcopy(decoded)]
    if b'"NaN"' not in codec.to_json(decoded):  # JSON has one, and a float has many
        copies.append(codec.from_json(cls, codec.to_json(decoded)))
    if NEGATIVE not in case.data:  # betterproto decodes negative enum numbers as large ones
        copies.append(cls().parse(case.data))
    if not oneofs(decoded):  # dataclasses cannot read an unset member of it
        copies.append(dataclasses.replace(decoded))
    for message in copies:
        assert type(message) is cls
        assert repr(message) == repr(decoded)
        assert codec.encode(message) == case.data
        assert codec.to_json(message) == codec.to_json(decoded)


@pytest.mark.parametrize(
    "holds",
    [
        bytes_match_google,
        unknown_fields_are_dropped_at_any_depth,
        json_matches_google,
        json_round_trip,
        constructors_and_copies_agree,
    ],
)
def test_random_message(schema: Any, holds: Callable[[Case], None]) -> None:
    schema.check(holds)


def test_json_reads_both_name_styles(schema: Any) -> None:
    def check(case: Case, schema_names: bool, all_fields: bool) -> None:
        text = json_format.MessageToJson(
            case.message,
            preserving_proto_field_name=schema_names,
            always_print_fields_with_no_presence=all_fields,
        )
        read = type(case.message).FromString(codec.encode(codec.from_json(case.cls, text)))
        assert same(read, json_format.Parse(text, type(case.message)()))

    schema.check(check, st.booleans(), st.booleans())


# Beside betterproto's own classes, which are slow.

SLOW = 60

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
    def check(case: Case) -> None:
        for what, look in LOOKS.items():
            ours, theirs = (cls().parse(case.data) for cls in (case.cls, getattr(own, case.name)))
            assert outcome(look, ours) == outcome(look, theirs), what

    schema.check(check, examples=SLOW)


def test_reading_changes_no_encoding(schema: Any) -> None:
    def check(case: Case) -> None:
        ours = case.decoded
        before = (codec.to_json(ours), repr(ours))
        for what, look in LOOKS.items():
            if what == "from_pydict":  # to_pydict puts dicts into the message's own maps
                continue
            outcome(look, ours)
            assert codec.encode(ours) == case.data
            assert (codec.to_json(ours), repr(ours)) == before

    schema.check(check, examples=SLOW)


def test_assignment_matches_betterproto(schema: Any, own: ModuleType) -> None:
    """Fields of one message are assigned one by one over those of another."""

    def check(case: Case, data: st.DataObject) -> None:
        over: Message = data.draw(schema.messages(case.name))
        written = []
        for cls in (case.cls, getattr(own, case.name)):
            target, source = cls().parse(case.data), cls().parse(over.SerializeToString())
            for each in names(source):
                if source.is_set(each):
                    setattr(target, each, getattr(source, each))
            written.append(outcome(bytes, target))
        assert written[0] == written[1]

    schema.check(check, st.data(), examples=SLOW)
