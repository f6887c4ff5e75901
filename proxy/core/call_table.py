"""The unary calls that WebSocket clients reach, read from the schema.

A call reaches them by a field of its request type in `ClientFrame` and a field
of its response type in `ServerFrame`. Nothing else is written for it.
"""

from dataclasses import dataclass
from typing import Any, Final, get_type_hints

import betterproto

import gen.chat
from gen.chat import ChatServiceBase, ClientFrame, ServerFrame

HISTORY_CALL: Final = "get_chat_history"
"""The field of the call that is answered with messages of the history."""
CHANGES_CALL: Final = "get_changes"
"""The field of the call that is answered with messages that changed."""
ROOMS_CALL: Final = "list_rooms"
"""The field of the call that is answered with the newest messages of rooms."""


@dataclass(frozen=True, slots=True)
class CallType:
    """One unary call.

    Attributes:
        field: the field of `ClientFrame` that asks for it.
        path: the method's path, such as ``/chat.ChatService/GetUser``.
        request_type: the type of its request.
        response_type: the type of its response.
        answer: the field of `ServerFrame` that holds the response.
    """

    field: str
    path: str
    request_type: type[betterproto.Message]
    response_type: type[betterproto.Message]
    answer: str


def calls_of_schema() -> dict[str, CallType]:
    """Returns the calls of the schema, by the field that asks for them."""
    asked = _fields_by_type(ClientFrame)
    answered = _fields_by_type(ServerFrame)
    calls = {}
    for path, method in ChatServiceBase().__mapping__().items():
        if method.cardinality.client_streaming or method.cardinality.server_streaming:
            continue
        field, answer = asked.get(method.request_type), answered.get(method.reply_type)
        if field is not None and answer is not None:
            calls[field] = CallType(field, path, method.request_type, method.reply_type, answer)
    return calls


def _fields_by_type(frame: type[betterproto.Message]) -> dict[Any, str]:
    hints = get_type_hints(frame, vars(gen.chat))
    return {kind: name for name, kind in hints.items() if isinstance(kind, type)}
