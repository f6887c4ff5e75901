"""Plain messages: betterproto's classes with ordinary attributes.

betterproto runs Python code at each access to an attribute, and keeps a placeholder for each field
that was not given. The generated classes derive from `Message` here, which does neither.

Fields, by how they can be unset:

- A scalar, a list or a map always has a value. The object holds its default from the start.
- A field that is `optional` holds `None` until it is set.
- A Timestamp or Duration that is not set holds `NO_TIMESTAMP` or `NO_DURATION`: the epoch and a
  duration of 0, told apart by identity. Any other datetime counts as set, also one of the epoch.
- What is held of a field that is a message has a name of its own: `held_extra` for `extra`, `None`
  until that is set. The first read of the field makes an empty message and keeps it, so that a
  change to it is not lost; it is written once it has content. A message that was assigned, or given
  to a constructor, is written even if it is empty; betterproto leaves out one that was made without
  arguments. `codec.lazy` has one more way.
- A oneof is an attribute of its own name that holds the value of the member that is set, or `None`:
  ``match frame.payload: case Join(): ...``. It is read-only. Each member is an attribute as well:
  reading one that is not set raises AttributeError, setting one unsets the others, and setting it
  to `None` unsets it. `betterproto.which_one_of` gives the member's name, for members of one type.

So reading a field never changes how the message is written, compared, shown or copied. All methods
remain betterproto's. They get at the fields through `_Message__raw_get`, which `Message` overrides
to return the placeholder for each field that would not be written.

The constructors are generated; the codec makes messages by `new`, and sets the same attributes.
State that all new objects share is in the class.
"""

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast

import betterproto
from betterproto import PLACEHOLDER

from .writing import is_nonzero

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

M = TypeVar("M", bound=betterproto.Message)

NO_TIMESTAMP: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""A Timestamp that is not set."""

NO_DURATION: Final = timedelta(0)
"""A Duration that is not set."""


class _New(Protocol):
    def __call__(self, cls: type[M], /) -> M: ...


new: Final = cast("_New", object.__new__)
"""Makes a message without running its constructor. Its attributes are yet to be set."""


class Message(betterproto.Message):
    """The base of the generated classes."""

    _unknown_fields = b""
    _group_current: Any = MappingProxyType({})  # replaced, never mutated
    _is_unset = False

    __getattribute__ = object.__getattribute__
    __setattr__ = object.__setattr__  # type: ignore[assignment] # another parameter's name

    def __post_init__(self) -> None:
        """Does nothing; betterproto's looks for placeholders."""

    @property
    def _serialized_on_wire(self) -> bool:
        """Whether the message is written as the value of a field."""
        return not self._is_unset or _has_content(self)

    @_serialized_on_wire.setter
    def _serialized_on_wire(self, value: bool) -> None:
        self._is_unset = not value

    def _Message__raw_get(self, name: str) -> Any:  # noqa: N802 - what betterproto calls
        """Returns a field's value; `PLACEHOLDER` if it is unset or would not be written."""
        return _given(self, name)

    def _get_field_default(self, field_name: str) -> Any:
        """Returns the value that an unset field is read as."""
        value = super()._get_field_default(field_name)
        if isinstance(value, Message):
            value._is_unset = True
        return value


def _has_content(message: Any) -> bool:
    names = message._betterproto.meta_by_field_name
    values = (_given(message, name) for name in names)
    return any(value is not PLACEHOLDER and value is not None for value in values)


def _given(message: Any, name: str) -> Any:
    meta = message._betterproto.meta_by_field_name[name]
    if meta.group:
        is_chosen = message._group_current[meta.group] == name
        return getattr(message, meta.group) if is_chosen else PLACEHOLDER
    if isinstance(getattr(type(message), name, None), MessageField):
        is_held = getattr(message, held_name(name)) is not None
        value = getattr(message, name) if is_held else PLACEHOLDER
    else:
        value = getattr(message, name, PLACEHOLDER)
    return value if meta.optional or _is_given(value) else PLACEHOLDER


def _is_given(value: Any) -> bool:
    match value:
        case betterproto.Message():
            return value._serialized_on_wire
        case datetime() | timedelta():
            return value is not NO_TIMESTAMP and value is not NO_DURATION
        case float():
            return is_nonzero(value)
        case _:
            return bool(value)


def held_name(name: str) -> str:
    """Returns the attribute with what is held of a message field.

    To look there costs nothing. To look into the object's dict would make one, and every later
    access to an attribute would take several times as long.
    """
    return f"held_{name}"


class MessageField:
    """A field that is a message."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.held_name = held_name(name)

    def __get__(self, message: Any, owner: type) -> Any:
        if message is None:
            return self
        value = getattr(message, self.held_name)
        if value is None:
            value = message._get_field_default(self.name)
            setattr(message, self.held_name, value)
        return value

    def __set__(self, message: Any, value: Any) -> None:
        setattr(message, self.held_name, value)


class _Member:
    """A member of a oneof."""

    def __init__(self, name: str, oneof: str) -> None:
        self._name = name
        self._oneof = oneof

    def __get__(self, message: Any, owner: type) -> Any:
        if message is None:
            return self
        chosen = message._group_current[self._oneof]
        if chosen != self._name:
            text = f"{self._oneof!r} is set to {chosen!r}, not {self._name!r}"
            raise AttributeError(text, name=self._name, obj=message)
        return getattr(message, self._oneof)

    def __set__(self, message: Any, value: Any) -> None:
        choose(message, self._oneof, None if value is None else self._name, value)


def choose(message: Any, oneof: str, name: str | None, value: Any) -> None:
    """Sets a member of a oneof, which unsets the others."""
    setattr(message, oneof, value)
    message._group_current = {**message._group_current, oneof: name}


def only_one(given: str | None, another: str) -> str:
    """Returns `another`, a given member of a oneof.

    Raises:
        ValueError: Another member was given before.
    """
    if given is not None:
        raise ValueError(f"more than one of {given}, {another}")
    return another


def plain(cls: type[M]) -> type[M]:
    """Adds the descriptors of oneofs' members and of fields that hold a message."""
    oneofs: dict[str, None] = {}
    for field in fields(cast("type[DataclassInstance]", cls)):
        meta = betterproto.FieldMetadata.get(field)
        if meta.group:
            oneofs[meta.group] = None
            setattr(cls, field.name, _Member(field.name, meta.group))
        # betterproto annotates with class names as strings, and with other types as they are.
        elif meta.proto_type == betterproto.TYPE_MESSAGE and isinstance(field.type, str):
            setattr(cls, field.name, MessageField(field.name))
            setattr(cls, held_name(field.name), None)
    for oneof in oneofs:
        setattr(cls, oneof, None)
    cls._group_current = cast("dict[str, str]", MappingProxyType(oneofs))
    return cls
