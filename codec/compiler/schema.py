"""The schema as the emitters use it, read from protoc's descriptors."""

import builtins
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from keyword import kwlist
from typing import Final, Literal

import betterproto
from betterproto.compile.naming import pythonize_class_name, pythonize_field_name
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto

from codec.objects import held_name

from .kinds import KINDS, SIZED, Kind, enum_kind, message_kind, time_kind
from .runtime import HELPERS

_TIMES: Final = {
    "google.protobuf.Timestamp": time_kind("timestamp", "datetime"),
    "google.protobuf.Duration": time_kind("duration", "timedelta"),
}
_INTERNAL: Final = (
    *("data", "depth", "end", "entry", "error", "item", "key", "known", "members", "message"),
    *("out", "pos", "raw", "size", "seen", "spans", "stop", "tag", "value", "values"),
)
_TAKEN: Final = frozenset((*_INTERNAL, *dir(builtins), *HELPERS))
"""Names that generated functions use for other purposes than fields."""

_GENERATED: Final = re.compile(r"(check|decode|encode)_.*|.*_(from|to)_json|.*_(spans|members?)")


Shape = Literal["plain", "optional", "message", "time", "oneof", "list", "map"]


class SchemaError(Exception):
    """The schema is invalid, or uses an unsupported feature."""


@dataclass(frozen=True)
class Enum:
    """An enum of the schema; `name` is the name of its class."""

    name: str
    values: tuple[tuple[str, int], ...]

    @property
    def table(self) -> str:
        """The name of its `EnumTable`."""
        return f"_{snake_case(self.name).upper()}_ENUM"


@dataclass(frozen=True)
class Field:
    """A field of a message.

    Attributes:
        proto: Its name in the schema.
        camel: Its camelCase name in JSON.
        name: Its name in the dataclass.
        local: Its variable in generated functions.
        number: Its number.
        kind: The kind of its values; for a map, of an entry.
        shape: Whether it always has a value, or may be unset (`optional`, a message or
            a time, a member of a oneof), or is a list or a map.
        oneof: Its oneof, or empty.
        packed: Whether a list is encoded as one field.
        entry: The fields of an entry, for a map.
        lazy: Whether a message may be held encoded, see `codec.lazy`.
    """

    proto: str
    camel: str
    name: str
    local: str
    number: int
    kind: Kind
    shape: Shape
    oneof: str = ""
    packed: bool = False
    entry: "tuple[Field, Field] | None" = None
    lazy: bool = False

    @property
    def tag(self) -> int:
        """The encoded tag of the field, if it is not packed."""
        return self.number << 3 | self.kind.wire

    @property
    def packed_tag(self) -> int:
        """The encoded tag of the field, if it is packed."""
        return self.number << 3 | SIZED

    @property
    def key_and_value(self) -> "tuple[Field, Field]":
        """The fields of a map entry."""
        if self.entry is None:
            raise SchemaError(f"{self.proto}: not a map")
        return self.entry

    @property
    def type(self) -> str:
        """The Python type of the dataclass's field."""
        if self.shape == "map":
            key, value = self.key_and_value
            return f"dict[{key.kind.python}, {value.kind.python}]"
        return f"list[{self.kind.python}]" if self.shape == "list" else self.kind.python


@dataclass(frozen=True)
class Message:
    """A message of the schema.

    Attributes:
        name: The name of its dataclass.
        fields: Its fields, in the order of their numbers.
        oneofs: The names of its oneofs.
        guarded: Whether it can nest to any depth: within a message that can contain its own type.
    """

    name: str
    fields: tuple[Field, ...]
    oneofs: tuple[str, ...]
    guarded: bool

    @property
    def snake(self) -> str:
        """The name of the message in function names."""
        return snake_case(self.name)


@dataclass(frozen=True)
class Module:
    """The contents of one package of the schema."""

    package: str
    sources: tuple[str, ...]
    messages: tuple[Message, ...]
    enums: tuple[Enum, ...]


def local_name(name: str) -> str:
    """Returns the variable of a field or a oneof in generated functions."""
    name = pythonize_field_name(name)
    return f"{name}_" if name in _TAKEN or _GENERATED.fullmatch(name) else name


def snake_case(name: str) -> str:
    """Returns a class name in snake case, for function names."""
    return pythonize_field_name(name).strip("_")


def read_modules(files: Iterable[FileDescriptor]) -> list[Module]:
    """Reads the schema's own files: a module for each package.

    Raises:
        SchemaError: The schema uses an unsupported feature.
    """
    packages: dict[str, list[FileDescriptor]] = {}
    for file in files:
        if not file.package:
            raise SchemaError(f"{file.name}: needs a package")
        packages.setdefault(file.package, []).append(file)
    return [_module(package, packages[package]) for package in sorted(packages)]


def _module(package: str, files: list[FileDescriptor]) -> Module:
    messages = [m for file in files for m in _nested(file.message_types_by_name.values())]
    enums = [e for file in files for e in file.enum_types_by_name.values()]
    enums += [e for message in messages for e in message.enum_types]
    module = Module(
        package,
        tuple(file.name for file in files),
        tuple(_message(m, _is_guarded(m, messages)) for m in messages),
        tuple(_enum(e) for e in enums),
    )
    _check_names(module)
    for message in module.messages:
        _check_oneofs(message)
        _check_held(message)
    return module


def _check_names(module: Module) -> None:
    classes = [*(m.name for m in module.messages), *(e.name for e in module.enums)]
    parts = [message.snake for message in module.messages]
    tables = [enum.table for enum in module.enums]
    names = Counter([*classes, *(f"decode_{part}" for part in parts), *tables, *HELPERS])
    twice = sorted(name for name, times in names.items() if times > 1)
    if twice:
        raise SchemaError(f"package {module.package}: names clash in Python: {', '.join(twice)}")


def _check_oneofs(message: Message) -> None:
    """Checks that each oneof can be an attribute of that name."""
    taken = {*(field.name for field in message.fields), *dir(betterproto.Message), *kwlist}
    for oneof in message.oneofs:
        if oneof in taken:
            raise SchemaError(f"{message.name}.{oneof}: a oneof cannot have this name in Python")


def _check_held(message: Message) -> None:
    """Checks that nothing else has the names under which message fields are held."""
    held = {held_name(field.name) for field in message.fields if field.shape == "message"}
    for name in (*(field.name for field in message.fields), *message.oneofs):
        if name in held:
            raise SchemaError(f"{message.name}.{name}: what is held of another field is named so")


def _nested(messages: Iterable[Descriptor]) -> Iterator[Descriptor]:
    for message in messages:
        if not message.GetOptions().map_entry:
            yield message
            yield from _nested(message.nested_types)


def _class_name(descriptor: Descriptor | EnumDescriptor) -> str:
    """Returns betterproto's name for the class of a message or an enum."""
    name = descriptor.name
    outer = descriptor.containing_type
    while outer is not None:
        name = f"{outer.name}_{name}"
        outer = outer.containing_type
    return pythonize_class_name(f"_{name}")


def _enum(descriptor: EnumDescriptor) -> Enum:
    return Enum(_class_name(descriptor), tuple((v.name, v.number) for v in descriptor.values))


def _message(descriptor: Descriptor, guarded: bool) -> Message:
    proto = DescriptorProto()
    descriptor.CopyToProto(proto)
    optional = {field.name for field in proto.field if field.proto3_optional}
    fields = [_field(field, field.name in optional) for field in descriptor.fields]
    return Message(
        _class_name(descriptor),
        tuple(sorted(fields, key=lambda field: field.number)),
        tuple(dict.fromkeys(field.oneof for field in fields if field.oneof)),
        guarded,
    )


def _is_guarded(descriptor: Descriptor, messages: list[Descriptor]) -> bool:
    recursive = [message for message in messages if _reaches(message, message, set())]
    return any(_reaches(message, descriptor, set()) for message in recursive)


def _reaches(start: Descriptor, goal: Descriptor, seen: set[str]) -> bool:
    """Returns whether a message can contain another, at any depth."""
    for field in start.fields:
        held = field.message_type
        if held is None or held.full_name in seen:
            continue
        seen.add(held.full_name)
        if held.full_name == goal.full_name or _reaches(held, goal, seen):
            return True
    return False


def _field(field: FieldDescriptor, optional: bool = False) -> Field:
    name = pythonize_field_name(field.name)
    kind, entry = _content(field)
    oneof = "" if field.containing_oneof is None or optional else field.containing_oneof.name
    options = field.GetOptions()
    unpacked = options.HasField("packed") and not options.packed
    shape: Shape = "map" if entry else _shape(field, kind, optional, bool(oneof))
    return Field(
        field.name,
        field.json_name,
        name,
        local_name(name),
        field.number,
        kind,
        shape,
        oneof,
        field.is_repeated and kind.is_packable and not unpacked,
        entry,
        options.lazy and shape == "message",
    )


def _shape(field: FieldDescriptor, kind: Kind, optional: bool, member: bool) -> Shape:
    if field.is_repeated:
        return "list"
    if member:
        return "oneof"
    if optional:
        return "optional"
    if kind.unset:
        return "time"
    return "message" if field.message_type is not None else "plain"


def _content(field: FieldDescriptor) -> tuple[Kind, tuple[Field, Field] | None]:
    """Returns the kind of a field's values, and the fields of a map entry."""
    held = field.message_type or field.enum_type
    if held is None:
        return KINDS[_type_name(field)], None
    if held.full_name in _TIMES:
        return _TIMES[held.full_name], None
    if held.file.package != _package(field):
        raise SchemaError(f"{field.full_name}: type {held.full_name} is not supported")
    name = _class_name(held)
    if isinstance(held, EnumDescriptor):
        return enum_kind(name, Enum(name, ()).table), None
    if held.GetOptions().map_entry:
        # The value of a map entry is always set, even if it is a message.
        key, value = (replace(_field(field), shape="plain") for field in held.fields)
        return KINDS["bytes"], (key, value)
    return message_kind(name, snake_case(name)), None


def _package(field: FieldDescriptor) -> str | None:
    return field.containing_type.file.package if field.containing_type else None


def _type_name(field: FieldDescriptor) -> str:
    for name, number in vars(FieldDescriptor).items():
        if name.startswith("TYPE_") and number == field.type:
            return name.removeprefix("TYPE_").lower()
    raise SchemaError(f"{field.full_name}: unknown type {field.type}")
