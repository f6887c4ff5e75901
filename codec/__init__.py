"""Converts protobuf messages to and from bytes and JSON, by code generated from the schema.

The messages are betterproto's dataclasses with ordinary attributes, as `codec.objects` describes.
`python -m codec.generate` writes them, and beside each of their modules `m` a module `m_codec` with
a straight-line function per message and direction. The functions here look up and call those.
Begin with `messages`, then `reading` and `writing`; of the generator, with `compiler.schema`.
"""

from .errors import DecodeError
from .grpc import GrpcCodec
from .messages import decode, encode, from_json, to_json

__all__ = [
    "DecodeError",
    "GrpcCodec",
    "decode",
    "encode",
    "from_json",
    "to_json",
]
