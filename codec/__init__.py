"""Protobuf messages to and from bytes and JSON, by code that is generated from the schema.

The messages are betterproto's dataclasses, with ordinary attributes: `codec.objects` says how they
behave. `python -m codec.generate` writes them, and beside each of their modules `m` a module
`m_codec` with a straight-line function for each message and direction. The functions here find and
call those.
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
