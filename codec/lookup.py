"""Looks up the generated functions of a message class."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import betterproto

from .reading import Decoder


class Compiled(NamedTuple):
    """The generated functions of one message class.

    The last argument of each is the nesting depth that the message may have. Only messages that a
    lazy field may hold can be checked.
    """

    decode: Decoder
    encode: Callable[[Any, int], bytes]
    from_json: Callable[[Any, int], Any]
    to_json: Callable[[Any, int], dict[str, Any]]
    check: Callable[[bytes, int, int, int], None] | None = None


class _Cache(dict[type, Compiled]):
    def __missing__(self, cls: type) -> Compiled:
        if not issubclass(cls, betterproto.Message):
            raise TypeError("not a betterproto message class")
        self.update(_load(f"{cls.__module__}_codec"))
        found = self.get(cls)
        if found is None:
            raise TypeError(f"nothing was generated for {cls.__module__}.{cls.__qualname__}")
        return found


def _load(name: str) -> dict[type, Compiled]:
    try:
        compiled: dict[type, Compiled] = import_module(name).COMPILED
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return {}
    return compiled


compiled = _Cache()
"""The compiled functions by class: for a class of module `m`, those of module `m_codec`."""
