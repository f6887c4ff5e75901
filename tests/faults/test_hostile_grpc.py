"""Any metadata and any message bytes, to each method of the server: always a clean status."""

import struct
from collections.abc import AsyncIterator, Sequence

import pytest
from h2.errors import ErrorCodes
from hpack import Decoder
from hypothesis import example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

import chat
import codec
from chat.core.paces import Paces
from gen.chat import (
    ChatMessage,
    ChatStream,
    GetChatHistoryRequest,
    GetUserRequest,
    ListUsersRequest,
    RelayCommand,
    RelayRequest,
    UpsertUserRequest,
)
from tests.faults.remains import no_complaints, nothing_stays
from tests.kit.http2 import (
    DATA,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PREFACE,
    RST_STREAM,
    RawClient,
    frame,
    headers,
    opening,
    prefixed,
)
from tests.support import SHARING

# Statuses for errors of a client, and for a client without error.
EXPECTED = {0, 3, 5, 8, 12}

MESSAGE = ChatMessage(id="1", room_id="lobby", sender_id="ada", content="hello")
METHODS = {
    "/chat.ChatService/GetUser": codec.encode(GetUserRequest("ada")),
    "/chat.ChatService/UpsertUser": codec.encode(UpsertUserRequest("ada", "Ada")),
    "/chat.ChatService/ListUsers": codec.encode(ListUsersRequest(page_size=1)),
    "/chat.ChatService/GetChatHistory": codec.encode(GetChatHistoryRequest("lobby", 1)),
    "/chat.ChatService/Chat": codec.encode(ChatStream(chat_message=MESSAGE)),
    "/chat.RelayService/Relay": codec.encode(
        RelayRequest(commands=[RelayCommand(ref=1, chat_message=MESSAGE)])
    ),
    "/grpc.health.v1.Health/Check": b"",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": b"\x3a\0",
    "/chat.ChatService/Nothing": b"",
}

THOROUGH = settings(SHARING, max_examples=250)


@pytest.fixture
def chat_config(chat_config: chat.Config) -> chat.Config:
    """A server that soon ends silent calls, and keeps nothing on disk."""
    return chat.Config(host=chat_config.host, port=0, database=chat.IN_MEMORY)


@pytest.fixture
async def chat_server(chat_config: chat.Config) -> AsyncIterator[chat.RunningServer]:
    """A server that soon forgets who was in a room: at the end the tests wait for that."""
    async with chat.serve(chat_config, Paces(linger=0.1)) as server:
        yield server


@pytest.fixture
async def port(
    chat_server: chat.RunningServer, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[int]:
    """Port of a server that must log nothing, and hold nothing at the end."""
    with capture_logs() as logs, no_complaints(caplog, logs):
        # Objects made once, for the first connection, may stay.
        await check_served(chat_server.port)
        async with nothing_stays():
            yield chat_server.port
            await check_served(chat_server.port)


async def check_served(port: int) -> None:
    request = prefixed(METHODS["/chat.ChatService/ListUsers"])
    async with RawClient.connect(port) as client:
        client.send(PREFACE + opening(1, headers("/chat.ChatService/ListUsers")))
        client.send(frame(DATA, request, stream=1, flags=END_STREAM))
        assert await outcome(client) == 0


async def outcome(client: RawClient) -> int | ErrorCodes:
    """How the call on stream 1 ended: status, reset or GOAWAY."""
    decoder, answer = Decoder(), dict[str, str]()
    while (received := await client.next()) is not None:
        if received.kind == HEADERS:
            pairs = decoder.decode(received.payload, raw=True)
            answer.update((str(bytes(n), "ascii"), str(bytes(v), "ascii")) for n, v in pairs)
            if received.flags & END_STREAM:
                assert "Traceback" not in answer.get("grpc-message", "")
                return (
                    int(answer["grpc-status"]) if "grpc-status" in answer else ErrorCodes.NO_ERROR
                )
        elif received.kind in {RST_STREAM, GOAWAY}:
            return ErrorCodes(struct.unpack(">I", received.payload[-4:])[0])
    raise AssertionError("the connection was closed without a word")


NAMES = (
    st.sampled_from([":path", ":method", ":scheme", ":authority", ":status", "te", "content-type"])
    | st.sampled_from(["grpc-timeout", "grpc-encoding", "grpc-accept-encoding", "grpc-status"])
    | st.sampled_from(["connection", "host", "content-length", "X-Upper", "", "a b", "x", "x-bin"])
    | st.text(st.characters(max_codepoint=127), max_size=8)
)
VALUES: st.SearchStrategy[bytes] = (
    st.sampled_from([b"", b"1S", b"trailers", b"gzip", b"application/grpc", b"POST", b"\xff\xfe"])
    | st.sampled_from([b"0n", b"99999999H", b"AA==", b"A", b"a\r\nb: c", b"\0", b" x ", b"5,6"])
    | st.binary(max_size=30)
)


@THOROUGH
@given(
    path=st.sampled_from([*METHODS]),
    without=st.sampled_from(["", "", "", "te", "content-type", ":scheme", ":authority"]),
    more=st.lists(st.tuples(NAMES, VALUES), max_size=4),
)
async def test_server_answers_any_metadata(
    port: int, path: str, without: str, more: Sequence[tuple[str, bytes]]
) -> None:
    async with RawClient.connect(port) as client:
        client.send(PREFACE + opening(1, headers(path, *more, without=without)))
        client.send(frame(DATA, prefixed(METHODS[path]), stream=1, flags=END_STREAM))
        # A deadline may pass, as it was asked for; without `te`, grpclib says UNKNOWN.
        refused = {ErrorCodes.NO_ERROR, ErrorCodes.PROTOCOL_ERROR, ErrorCodes.CANCEL}
        assert await outcome(client) in EXPECTED | {2, 4} | refused


PAYLOADS = (
    st.sampled_from([*METHODS.values()])
    | st.binary(max_size=40)
    | st.builds(lambda one, other: one + other, st.sampled_from([*METHODS.values()]), st.binary())
)
MESSAGES = st.builds(
    lambda payload, flag, lie: struct.pack(">BI", flag, max(0, len(payload) + lie)) + payload,
    PAYLOADS,
    st.sampled_from([0, 0, 0, 0, 1, 2, 255]),
    st.sampled_from([0, 0, 0, 0, 1, -1, 5, 2**20, 2**31, 2**32 - 100]),
)


@THOROUGH
@given(
    path=st.sampled_from([*METHODS]),
    messages=st.lists(MESSAGES, max_size=4),
    cut=st.integers(0, 10) | st.just(0),
    size=st.integers(1, 50),
)
# Messages of google's library, which has errors of its own.
@example("/grpc.health.v1.Health/Check", [prefixed(b"\0")], 0, 50)
@example("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", [prefixed(b"\0")], 0, 50)
async def test_server_answers_any_message_bytes(
    port: int, path: str, messages: list[bytes], cut: int, size: int
) -> None:
    """Lying prefixes, unknown flags, too many or too few messages, truncated messages."""
    data = b"".join(messages)
    data = data[: len(data) - cut]
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    async with RawClient.connect(port) as client:
        client.send(PREFACE + opening(1, headers(path)))
        client.send(b"".join(frame(DATA, piece, stream=1) for piece in pieces))
        client.send(frame(DATA, stream=1, flags=END_STREAM))
        assert await outcome(client) in EXPECTED
