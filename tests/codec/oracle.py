"""Google's protobuf library as the oracle for the codec, on two schemas.

The chat's schema, and `kitchen.proto`, which uses every feature of the codec and is generated
here.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import betterproto
import orjson
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError as GoogleDecodeError
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st

import codec
from codec.generate import generate, run_protoc

ROOT = Path(__file__).parents[2]
KITCHEN = Path(__file__).parent
STRICTER = ("field number 0", "a timestamp is out of range", "a duration is out of range")
TIMES = ("google.protobuf.Timestamp", "google.protobuf.Duration")
FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799
LONGEST_DURATION = 315_576_000_000
LARGEST_FLOAT = 2.0**128 - 2.0**104


def integers(bits: int, *, signed: bool) -> st.SearchStrategy[int]:
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    edges = [n for n in (0, 1, -1, 127, 128, 16_383, 16_384, low, high) if low <= n <= high]
    return st.sampled_from(edges) | st.integers(low, high)


SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_DOUBLE: st.floats(),
    # Google's library cannot read the JSON that it writes for the largest value.
    FieldDescriptor.TYPE_FLOAT: st.floats(width=32).filter(lambda f: abs(f) != LARGEST_FLOAT),
    FieldDescriptor.TYPE_INT32: integers(32, signed=True),
    FieldDescriptor.TYPE_INT64: integers(64, signed=True),
    FieldDescriptor.TYPE_UINT32: integers(32, signed=False),
    FieldDescriptor.TYPE_UINT64: integers(64, signed=False),
    FieldDescriptor.TYPE_SINT32: integers(32, signed=True),
    FieldDescriptor.TYPE_SINT64: integers(64, signed=True),
    FieldDescriptor.TYPE_FIXED32: integers(32, signed=False),
    FieldDescriptor.TYPE_FIXED64: integers(64, signed=False),
    FieldDescriptor.TYPE_SFIXED32: integers(32, signed=True),
    FieldDescriptor.TYPE_SFIXED64: integers(64, signed=True),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_STRING: st.text(max_size=9) | st.sampled_from(["\0", "é" * 64, "x" * 300]),
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=9) | st.just(b"\xff" * 128),
    FieldDescriptor.TYPE_ENUM: st.integers(-2, 17) | integers(32, signed=True),
}

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(
        ["ACTIVE", "1", "-1", "1e2", "0.5", "NaN", "2025-01-31T12:00:00Z", "1.5s", ""]
    )
)


class Schema:
    """A schema: google's classes, the dataclasses, and random messages."""

    def __init__(self, module: ModuleType, compiled: ModuleType, descriptors: bytes) -> None:
        self.module = module
        self.names: list[str] = sorted(cls.__name__ for cls in compiled.COMPILED)
        self._pool = DescriptorPool()
        files = FileDescriptorSet.FromString(descriptors).file
        for file in files:
            self._pool.Add(file)
        self.package = package = files[-1].package
        self._google = {
            "".join(name.split(".")): f"{package}.{name}"
            for message in files[-1].message_type
            for name in (message.name, *(f"{message.name}.{n.name}" for n in message.nested_type))
        }

    def ours(self, name: str) -> type[betterproto.Message]:
        cls: type[betterproto.Message] = getattr(self.module, name)
        return cls

    def google(self, name: str) -> type[Message]:
        return GetMessageClass(self._pool.FindMessageTypeByName(self._google[name]))

    def messages(self, name: str) -> st.SearchStrategy[Message]:
        return filled(self.google(name))

    def case(self, name: str) -> st.SearchStrategy[Case]:
        """A random message of a type."""
        return st.builds(Case, st.just(self), st.just(name), self.messages(name))

    def cases(self) -> st.SearchStrategy[Case]:
        """A random message of any type."""
        return st.sampled_from(self.names).flatmap(self.case)

    def hostile_json(self, name: str) -> st.SearchStrategy[str]:
        """Random JSON objects with members of a type, whose values are as they happen to be."""
        fields = self.google(name).DESCRIPTOR.fields
        names = [n for f in fields for n in (f.name, f.json_name)] or ["x"]
        keys = st.sampled_from(names)
        values = st.recursive(
            LEAVES,
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(keys | st.text(max_size=3), inner, max_size=3)
            ),
            max_leaves=8,
        )
        return st.dictionaries(keys, values, max_size=3).map(json.dumps)

    def check(
        self, holds: Callable[..., None], *more: st.SearchStrategy[Any], examples: int = 150
    ) -> None:
        """Checks that something holds for random messages, and for more random values."""
        settings(max_examples=examples)(given(self.cases(), *more)(holds))()


class Case(NamedTuple):
    """A random message of google's library."""

    schema: Schema
    name: str
    message: Message

    @property
    def cls(self) -> type[betterproto.Message]:
        """The dataclass of its type."""
        return self.schema.ours(self.name)

    @property
    def data(self) -> bytes:
        """Its encoding."""
        return self.message.SerializeToString()

    @property
    def decoded(self) -> betterproto.Message:
        """The message, as the codec reads it."""
        return codec.decode(self.cls, self.data)


@st.composite
def filled(draw: st.DrawFn, cls: type[Message], depth: int = 3) -> Message:
    """A random message, whose times fit a datetime or a timedelta."""
    message = cls()
    _fill(draw, message, depth)
    return message


def _fill(draw: st.DrawFn, message: Message, depth: int) -> None:
    descriptor = message.DESCRIPTOR
    if descriptor.full_name in TIMES:
        _fill_time(draw, message)
        return
    if not depth:
        return
    chosen = [draw(st.sampled_from([None, *oneof.fields])) for oneof in descriptor.oneofs]
    for field in descriptor.fields:
        if field.containing_oneof is not None:
            if field in chosen:
                _set(draw, message, field, depth)
        elif draw(st.booleans()):
            _set(draw, message, field, depth)


def _fill_time(draw: st.DrawFn, message: Any) -> None:
    micros = draw(st.sampled_from([0, 1, 1000, 999_999]) | st.integers(0, 999_999))
    if message.DESCRIPTOR.name == "Timestamp":
        message.seconds = draw(st.just(0) | st.integers(FIRST_SECOND, LAST_SECOND))
        message.nanos = micros * 1000
    else:
        sign = draw(st.sampled_from([1, -1]))
        message.seconds = sign * draw(st.just(0) | st.integers(0, LONGEST_DURATION))
        message.nanos = sign * micros * 1000


def _set(draw: st.DrawFn, message: Any, field: Any, depth: int) -> None:
    held = field.message_type
    if held is not None and held.GetOptions().map_entry:
        _set_map(draw, getattr(message, field.name), held, depth)
    elif field.is_repeated:
        values = getattr(message, field.name)
        for _ in range(draw(st.integers(0, 3))):
            if held is not None:
                _fill(draw, values.add(), depth - 1)
            else:
                values.append(draw(SCALARS[field.type]))
    elif held is not None:
        getattr(message, field.name).SetInParent()
        _fill(draw, getattr(message, field.name), depth - 1)
    else:
        setattr(message, field.name, draw(SCALARS[field.type]))


def _set_map(draw: st.DrawFn, values: Any, entry: Descriptor, depth: int) -> None:
    key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
    for _ in range(draw(st.integers(0, 2))):
        each = draw(SCALARS[key.type])
        if value.message_type is not None:
            _fill(draw, values[each], depth - 1)
        else:
            values[each] = draw(SCALARS[value.type])


def compare(schema: Schema, name: str, data: bytes) -> None:
    """Checks that the codec and google's library agree on `data`: same message, or both refuse it.

    Unknown fields differ: google's library keeps them, the codec drops them. They are removed from
    the expected message, and the codec's must hold none.

    Stricter on purpose: field number 0, which google's library accepts within unknown groups and in
    messages without fields, and times that Python's types cannot hold.
    """
    theirs: Any
    try:
        theirs = schema.google(name).FromString(data)
    except GoogleDecodeError:
        theirs = None
    try:
        ours = codec.decode(schema.ours(name), data)
    except codec.DecodeError as error:
        _check_refusal(error)
        if theirs is None or error.reason in STRICTER:
            return
        raise
    assert theirs is not None, "google's library refuses it"
    assert not any("_unknown_fields" in vars(each) for each in all_messages(ours))
    again = type(theirs).FromString(codec.encode(ours))
    theirs.DiscardUnknownFields()
    forget(theirs)
    forget(again)
    assert same(again, theirs)
    _check_round_trips(ours)


def compare_json(schema: Schema, name: str, text: bytes | str) -> None:
    """Checks that google's library reads any JSON that the codec accepts as the same message.

    Of a duplicate name the last one wins, where google's library refuses it.
    """
    try:
        ours = codec.from_json(schema.ours(name), text)
    except codec.DecodeError as error:
        _check_refusal(error)
        return
    once = json.dumps(orjson.loads(text))
    assert repr(codec.from_json(type(ours), once)) == repr(ours)
    theirs = json_format.Parse(once, schema.google(name)())
    assert same(type(theirs).FromString(codec.encode(ours)), theirs)
    _check_round_trips(ours)


def same(one: Message, other: Message) -> bool:
    """Tells whether two messages are the same, whatever the order of maps."""
    first, second = (each.SerializeToString(deterministic=True) for each in (one, other))
    return first == second


def _check_refusal(error: codec.DecodeError) -> None:
    text = str(error)
    assert text.isprintable(), text
    assert 0 < len(text) < 1000, text


def _check_round_trips(message: betterproto.Message) -> None:
    written = codec.encode(message)
    again = codec.decode(type(message), written)
    assert codec.encode(again) == written
    assert repr(again) == repr(message)  # ==, except for NaN
    text = codec.to_json(message)
    assert codec.to_json(codec.from_json(type(message), text)) == text


def forget(message: Any) -> None:
    """Removes what Python types cannot hold: fractions of a microsecond, the kind of a NaN."""
    if message.DESCRIPTOR.full_name in ("google.protobuf.Timestamp", "google.protobuf.Duration"):
        message.nanos = int(message.nanos / 1000) * 1000
        return
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            forget_items(value, field.message_type.fields_by_name["value"], list(value))
        elif field.is_repeated:
            forget_items(value, field, range(len(value)))
        elif field.message_type is not None:
            forget(value)
        elif isinstance(value, float) and math.isnan(value):
            setattr(message, field.name, math.nan)


def forget_items(values: Any, field: FieldDescriptor, keys: Iterable[Any]) -> None:
    for key in keys:
        if field.message_type is not None:
            forget(values[key])
        elif isinstance(values[key], float) and math.isnan(values[key]):
            values[key] = math.nan


def all_messages(value: Any) -> list[betterproto.Message]:
    """A dataclass, and all dataclasses nested in it."""
    if isinstance(value, betterproto.Message):
        fields = vars(value).values()
        return [value, *(found for each in fields for found in all_messages(each))]
    if isinstance(value, dict):
        value = list(value.values())
    return [found for each in value for found in all_messages(each)] if type(value) is list else []


def chat_schema() -> Schema:
    """The chat's schema, from gen/."""
    descriptors = (ROOT / "gen" / "descriptor.binpb").read_bytes()
    return Schema(import_module("gen.chat"), import_module("gen.chat_codec"), descriptors)


def kitchen_schema(root: Path) -> Schema:
    """The schema of kitchen.proto, generated into a directory."""
    files = generate(KITCHEN)
    module, compiled = _imported(root, files, "kitchen_gen", "kitchen", "kitchen_codec")
    return Schema(module, compiled, files["descriptor.binpb"])


def betterproto_module(package: str, root: Path) -> ModuleType:
    """The module that betterproto's own compiler generates for one of the two schemas."""
    proto = {"chat": ROOT / "proto", "kitchen": KITCHEN}[package]
    [module] = _imported(root, run_protoc(proto, [f"{package}.proto"]), f"own_{package}", package)
    return module


def _imported(root: Path, files: dict[str, bytes], package: str, *modules: str) -> list[ModuleType]:
    for name, content in files.items():
        path = root / package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    sys.path.insert(0, str(root))
    try:
        return [import_module(f"{package}.{module}") for module in modules]
    finally:
        sys.path.remove(str(root))
