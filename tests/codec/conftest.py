"""Google's protobuf library as the oracle for the codec, on two schemas.

The schema of the chat, and `kitchen.proto`, which uses all that the codec supports and is compiled
here by the generator itself.
"""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import betterproto
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

from codec.generate import generate

ROOT = Path(__file__).parents[2]
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
    # Google's library does not read the JSON that it writes for the largest.
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


class Schema:
    """A schema's messages: google's classes, the dataclasses, and random messages."""

    def __init__(self, module: ModuleType, compiled: ModuleType, descriptors: bytes) -> None:
        self.module = module
        self.compiled = compiled
        self.names: list[str] = sorted(cls.__name__ for cls in compiled.COMPILED)
        self._pool = DescriptorPool()
        files = FileDescriptorSet.FromString(descriptors).file
        for file in files:
            self._pool.Add(file)
        package = files[-1].package
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

    def either(self) -> st.SearchStrategy[tuple[str, Message]]:
        """A random message of any type, with the name of the type."""
        return st.sampled_from(self.names).flatmap(
            lambda name: st.tuples(st.just(name), self.messages(name))
        )


@st.composite
def filled(draw: st.DrawFn, cls: type[Message], depth: int = 3) -> Message:
    """A random message; times are such as a datetime or a timedelta can hold."""
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


@pytest.fixture(scope="session")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Schema:
    """The schema of kitchen.proto, generated into a temporary directory."""
    root = tmp_path_factory.mktemp("generated")
    out = root / "kitchen_gen"
    files = generate(Path(__file__).parent)
    for name, content in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    sys.path.insert(0, str(root))
    try:
        module = import_module("kitchen_gen.kitchen")
        compiled = import_module("kitchen_gen.kitchen_codec")
    finally:
        sys.path.remove(str(root))
    return Schema(module, compiled, files["descriptor.binpb"])


@pytest.fixture(scope="session")
def chat_schema() -> Schema:
    """The schema of the chat, from gen/."""
    descriptors = (ROOT / "gen" / "descriptor.binpb").read_bytes()
    return Schema(import_module("gen.chat"), import_module("gen.chat_codec"), descriptors)


@pytest.fixture(scope="session", params=["chat_schema", "kitchen"])
def schema(request: pytest.FixtureRequest) -> Schema:
    """Each of the two schemas."""
    found: Schema = request.getfixturevalue(request.param)
    return found
