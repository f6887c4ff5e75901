"""The unary calls of WebSocket clients, against the schema's descriptor."""

from importlib.resources import files

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet

from proxy.core.call_table import CallType, calls_of_schema


@pytest.fixture(scope="module")
def schema() -> FileDescriptorProto:
    """The schema's file descriptor, from the protobuf compiler."""
    described = FileDescriptorSet.FromString((files("gen") / "descriptor.binpb").read_bytes())
    [schema] = [file for file in described.file if file.package == "chat"]
    return schema


def fields_by_type(schema: FileDescriptorProto, name: str) -> dict[str, str]:
    """Field names of a frame, by type."""
    frame: DescriptorProto
    [frame] = [each for each in schema.message_type if each.name == name]
    return {field.type_name: field.name for field in frame.field if field.type_name}


def test_call_table_matches_the_schema(schema: FileDescriptorProto) -> None:
    [service] = [each for each in schema.service if each.name == "ChatService"]
    asked = fields_by_type(schema, "ClientFrame")
    answered = fields_by_type(schema, "ServerFrame")
    expected = {
        asked[method.input_type]: (
            f"/chat.ChatService/{method.name}",
            method.input_type.removeprefix(".chat."),
            method.output_type.removeprefix(".chat."),
            answered[method.output_type],
        )
        for method in service.method
        if not (method.client_streaming or method.server_streaming)
    }
    found = {
        field: (call.path, call.request_type.__name__, call.response_type.__name__, call.answer)
        for field, call in calls_of_schema().items()
    }
    assert found == expected


@pytest.mark.parametrize("call", calls_of_schema().values(), ids=lambda call: call.field)
def test_get_x_answers_with_x(call: CallType) -> None:
    if call.field.startswith("get_"):
        # `changes` are told without being asked for.
        names = {"get_changes": "room_changes"}
        assert call.answer == names.get(call.field, call.field.removeprefix("get_"))
