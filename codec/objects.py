"""How generated code reaches the inside of a betterproto dataclass.

A betterproto message keeps its field values in its ``__dict__`` (``PLACEHOLDER`` stands for a value
that is made at the first read), beside three entries of bookkeeping. Its constructor, and each
access to an attribute, run Python code; what is here does not.

What the codec makes differs in one way from what betterproto's own parser makes: a field that
always has a value, such as a plain string, holds its default rather than ``PLACEHOLDER`` when it
was not in the input. That is what reads of it would make it.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar, cast

import betterproto

M = TypeVar("M", bound=betterproto.Message)

PLACEHOLDER: Final = betterproto.PLACEHOLDER

_DICT: Final = betterproto.Message.__dict__["__dict__"]


class _New(Protocol):
    def __call__(self, cls: type[M], /) -> M: ...


new: Final = cast("_New", object.__new__)
"""Makes a message without running its constructor. Its fields are to be set with `set_fields`."""

fields_of: Final = cast("Callable[[betterproto.Message], dict[str, Any]]", _DICT.__get__)
"""Returns a message's own ``__dict__``: its fields by name.

For hot paths: reading an attribute of a betterproto message runs Python code, which costs more than
decoding the field did. An unset field that holds a message is `PLACEHOLDER` in it.
"""

set_fields: Final = cast("Callable[[betterproto.Message, dict[str, Any]], None]", _DICT.__set__)
"""Replaces a message's ``__dict__``."""

NO_GROUPS: Final[dict[str, str | None]] = {}
"""``_group_current`` of a message without a oneof. Nothing is ever written to it."""


def member_of(message: betterproto.Message, oneof: str) -> Any:
    """Returns the value of the member of a oneof that is set; `None` if none is.

    It is what `betterproto.which_one_of` returns, at a fraction of its cost.
    """
    fields = fields_of(message)
    name = fields["_group_current"].get(oneof)
    return None if name is None else fields[name]


def is_present(message: betterproto.Message) -> bool:
    """Tells whether a message in a field is set.

    It is not when betterproto made it because an unset field was read.
    """
    return fields_of(message)["_serialized_on_wire"] or bool(message)


def only_one(given: str | None, another: str) -> str:
    """Returns `another`, the member of a oneof that was given.

    Raises:
        ValueError: One was given before.
    """
    if given is not None:
        raise ValueError(f"more than one of {given}, {another}")
    return another
