"""The codec for grpclib: pass it to a `grpclib.server.Server` or a `grpclib.client.Channel`."""

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

    Messages of google's protobuf library are supported for the health and reflection
    services of grpclib.
    """

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        """Returns the encoding of a message; `bytes` are already encoded.

        Raises:
            TypeError: The message has another type than the method's.
            ValueError: A value is invalid for its field.
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
        """Returns the message decoded from `data`.

        Raises:
            DecodeError: `data` is not the encoding of a `message_type`.
        """
        if issubclass(message_type, betterproto.Message):
            return messages.decode(message_type, data)
        # Imported here: only these messages need that library.
        from google.protobuf.message import DecodeError as GoogleDecodeError

        try:
            return cast("type[_GoogleMessage]", message_type).FromString(data)
        except GoogleDecodeError:
            raise DecodeError("", "malformed") from None
