"""Fields whose messages stay encoded until somebody reads them.

A field that the schema calls lazy (``[lazy = true]``) may hold its message encoded (`hold`). What
is only passed on is then neither decoded nor encoded again. Whoever reads the field gets the
message, and the same one each time, so that it may be changed. To all methods of a message there
is no difference.

The bytes stand where the message would, see `codec.objects.held_name`.
"""

from collections.abc import Callable
from typing import Any

import betterproto

from .lookup import compiled
from .messages import decode
from .objects import M, MessageField, held_name
from .reading import MAX_DEPTH, not_utf8, truncated


class _Lazy(MessageField):
    """A message field that may be encoded."""

    def __get__(self, message: Any, owner: type) -> Any:
        if message is None:
            return self
        value = getattr(message, self.held_name)
        if type(value) is bytes:
            value = decode(message._betterproto.cls_by_field[self.name], value)  # noqa: SLF001 - betterproto has no other way
            setattr(message, self.held_name, value)
        return super().__get__(message, owner)


def lazy(*names: str) -> Callable[[type[M]], type[M]]:
    """Returns a decorator of a plain class, some of whose fields are lazy."""

    def decorate(cls: type[M]) -> type[M]:
        for name in names:
            setattr(cls, name, _Lazy(name))
        return cls

    return decorate


def hold(message: betterproto.Message, name: str, data: bytes) -> None:
    """Gives a message a lazy field as bytes.

    Args:
        message: the message.
        name: the field.
        data: the encoding of its value. It has to be sound, see `check`.
    """
    setattr(message, held_name(name), data)


def check(cls: type[betterproto.Message], data: bytes) -> None:
    """Checks that bytes are the encoding of a message of type `cls`.

    It takes half the time of decoding it.

    Args:
        cls: a type that a lazy field may hold, at any depth.
        data: the bytes.

    Raises:
        DecodeError: they are not.
    """
    check_one = compiled[cls].check
    if check_one is None:
        raise TypeError(f"no lazy field holds a {cls.__qualname__}")
    try:
        check_one(data, 0, len(data), MAX_DEPTH)
    except IndexError:
        raise truncated() from None
    except UnicodeDecodeError:
        raise not_utf8() from None
