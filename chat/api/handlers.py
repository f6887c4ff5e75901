"""Finds the handler of each method of the schema; none may be left out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from grpclib.const import Handler
from grpclib.server import Stream

if TYPE_CHECKING:
    from grpclib._typing import IServable

Handle = Callable[[Stream[Any, Any]], Awaitable[None]]


class NotHandled(Exception):
    """A method of the schema has no handler; the text names it, for a developer, in one line."""


def handlers(schema: IServable, served: Mapping[str, Handle]) -> dict[str, Handler]:
    """Returns the methods of a service as grpclib asks for them.

    Args:
        schema: the generated base of the service.
        served: the handler of each method, by its name in the schema.

    Raises:
        NotHandled: there is none for a method.
    """
    methods = schema.__mapping__()
    missing = [path for path in methods if path.rpartition("/")[2] not in served]
    if missing:
        names = ", ".join(path.lstrip("/") for path in missing)
        raise NotHandled(f"no handler for {names}: proto/chat.proto has it, the chat package not")
    return {
        path: handler._replace(func=served[path.rpartition("/")[2]])
        for path, handler in methods.items()
    }
