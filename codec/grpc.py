"""The codec as grpclib's: give it to a `grpclib.server.Server` or a `grpclib.client.Channel`."""

from typing import Any, Protocol, cast

import betterproto
from grpclib.encoding.base import CodecBase

from . import messages
from .errors import DecodeError


class _GoogleMessage(Protocol):
    def SerializeToString(self) -> bytes: ...  # noqa: N802 - google's name

    @classmethod
    def FromString(cls, data: bytes) -> "_GoogleMessage": ...  # noqa: N802 - google's name


class GrpcCodec(CodecBase):
    """Encodes and decodes the messages of a gRPC call.

    Messages of google's own protobuf library pass through, for the health and the reflection
    service of grpclib.
    """

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        """Returns a message's encoding; a message that is `bytes` was encoded before.

        Raises:
            TypeError: The message is of another type than the method's.
            ValueError: The message holds a value that its field cannot.
        """
        if isinstance(message, bytes):
            return message
        if not isinstance(message, message_type):
            expected, got = message_type.__qualname__, type(message).__qualname__
            raise TypeError(f"expected a {expected}, not a {got}")
        if isinstance(message, betterproto.Message):
            return messages.encode(message)
        return cast("_GoogleMessage", message).SerializeToString()

    def decode(self, data: bytes, message_type: Any) -> Any:
        """Returns the message that `data` is the encoding of.

        Raises:
            DecodeError: It is none of a `message_type`.
        """
        if issubclass(message_type, betterproto.Message):
            return messages.decode(message_type, data)
        # Here, because what runs without such messages does not need that library.
        from google.protobuf.message import DecodeError as GoogleDecodeError

        try:
            return cast("type[_GoogleMessage]", message_type).FromString(data)
        except GoogleDecodeError:
            raise DecodeError("", "malformed") from None
