"""A `Chat` stream of gRPC's official client, with classes made from any schema."""

from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import grpc.aio  # type: ignore[import-untyped]  # comes without types
import grpc_tools.protoc  # type: ignore[import-untyped]  # comes without types
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClassesForFiles

from tests.support import PATIENCE_SECONDS

SERVICE: Final = "/chat.ChatService"


def compiled(schema: Path, folder: Path) -> dict[str, Any]:
    """Compiles a schema in a folder for that; returns its messages by full name."""
    output = folder / "schema.binpb"
    status = grpc_tools.protoc.main(
        [
            "protoc",
            f"--proto_path={schema.parent}",
            f"--proto_path={files('grpc_tools') / '_proto'}",
            "--include_imports",
            f"--descriptor_set_out={output}",
            schema.name,
        ]
    )
    assert status == 0
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(output.read_bytes()).file:
        pool.Add(file)
    return dict(GetMessageClassesForFiles([schema.name], pool))


class Conversation:
    """A `Chat` stream that is written and read as dictionaries."""

    def __init__(self, channel: grpc.aio.Channel, message: Any) -> None:
        self._message = message
        self.call = channel.stream_stream(
            f"{SERVICE}/Chat",
            request_serializer=message.SerializeToString,
            response_deserializer=message.FromString,
        )(timeout=PATIENCE_SECONDS)

    async def send(self, **payload: Any) -> None:
        await self.call.write(json_format.ParseDict(payload, self._message()))

    async def receive(self) -> dict[str, Any]:
        response = await self.call.read()
        return json_format.MessageToDict(response, preserving_proto_field_name=True)
