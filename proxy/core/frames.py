"""Frames on the wire: JSON in a WebSocket text frame, ready to be written.

A frame is built once and written to as many sockets as get it.
"""

import struct

import codec
from gen.chat import ChangeMessageResponse, ChatMessage, Error, ServerFrame

_FIN_TEXT = 0x81
_FIN_CLOSE = 0x88
_FIN_PONG = 0x8A
# A control frame has at most 125 bytes (RFC 6455, section 5.5), two of which are the code.
_REASON_BYTES = 123

PING = bytes((0x89, 0))

# The JSON around a message in a frame that holds nothing else, as most do.
_BEFORE_MESSAGE, _BEHIND_MESSAGE = codec.to_json(ServerFrame(chat_message=ChatMessage())).split(
    codec.to_json(ChatMessage())
)


class Changed:
    """Makes the payloads that answer changes of messages.

    The answer to all that left one message is one object (see `proxy.core.receiver`), and those who
    are answered come one behind the other: the same JSON is not made anew for each.
    """

    def __init__(self) -> None:
        self._answer: ChangeMessageResponse | None = None
        self._payload = b""

    def payload(self, answer: ChangeMessageResponse, request_id: str | None) -> bytes:
        """Returns the JSON of the frame with an answer; that object is not to change any more."""
        if answer is not self._answer:
            self._payload = codec.to_json(ServerFrame(changed_message=answer))
            self._answer = answer
        if request_id is None:
            return self._payload
        # Two objects become one.
        return self._payload[:-1] + b"," + codec.to_json(ServerFrame(request_id=request_id))[1:]


def encode(frame: ServerFrame) -> bytes:
    """Turns a frame into bytes for the socket."""
    return text_frame(codec.to_json(frame))


def error(error: Error, request_id: str | None) -> bytes:
    """The frame of an error."""
    return encode(ServerFrame(error=error, request_id=request_id))


def message(message: ChatMessage, request_id: str | None = None) -> bytes:
    """The frame of a message."""
    if request_id is None:
        return text_frame(_BEFORE_MESSAGE + codec.to_json(message) + _BEHIND_MESSAGE)
    return encode(ServerFrame(chat_message=message, request_id=request_id))


def text_frame(payload: bytes) -> bytes:
    """Frames a payload as one unmasked text message (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((_FIN_TEXT, size)) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", _FIN_TEXT, 126, size) + payload
    return struct.pack("!BBQ", _FIN_TEXT, 127, size) + payload


def close_frame(code: int, reason: str) -> bytes:
    """Frames a close (RFC 6455, section 5.5.1).

    Args:
        code: the close code.
        reason: the reason, of which at most 123 bytes of UTF-8 fit.
    """
    fitting = reason.encode()[:_REASON_BYTES].decode(errors="ignore")
    payload = struct.pack("!H", code) + fitting.encode()
    return bytes((_FIN_CLOSE, len(payload))) + payload


def pong(payload: bytes) -> bytes:
    """Frames the answer to a ping (RFC 6455, section 5.5.3).

    Args:
        payload: the payload of the ping, at most 125 bytes.
    """
    return bytes((_FIN_PONG, len(payload))) + payload
