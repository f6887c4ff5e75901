"""Traces: from a handshake through proxy and relay into the server, or none."""

import asyncio
import tomllib
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final

import pytest
from grpclib import GRPCError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import chat
import proxy
from gen.chat import (
    ChatServiceStub,
    GetUserRequest,
    RelayCommand,
    RelayServiceStub,
)
from hosting.tracing.otel import OtelTracer
from hosting.tracing.setup import tracer_of_environment
from hosting.tracing.spans import using
from tests.hosting.test_secrecy import BREAKING, broken
from tests.kit.processes import ROOT, both_logged, run_program
from tests.proxy.web_client import message, visitor
from tests.support import ChatCall, RelayCall, channel_to, eventually
from tests.support import message as chat_message

TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
SAMPLED: Final = f"00-{TRACE}-b7ad6b7169203331-01"
UNSAMPLED: Final = f"00-{TRACE}-b7ad6b7169203331-00"
CONTENTS: Final = "never told"


class Spans:
    """Recorded spans."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def ended(self) -> Sequence[ReadableSpan]:
        """Ended spans."""
        return self._exporter.get_finished_spans()

    async def named(self, name: str, number: int = 1) -> list[ReadableSpan]:
        """Waits for spans of a name."""
        await eventually(lambda: len(self.find(name)) >= number)
        found = self.find(name)
        assert len(found) == number
        return found

    def find(self, name: str) -> list[ReadableSpan]:
        """Spans of a name, in the order of their ends."""
        return [span for span in self.ended if span.name == name]


@pytest.fixture
def spans() -> Iterator[Spans]:
    """Traces servers and proxies of this process."""
    spans = Spans()
    with using(OtelTracer(spans.provider)):
        yield spans


def parent_of(span: ReadableSpan) -> str:
    assert span.parent is not None
    return f"{span.parent.span_id:016x}"


def id_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.span_id:016x}"


def trace_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


def noted(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def talk(url: str, *, traceparent: str | None) -> None:
    """Sends a message, joins, and makes calls."""
    headers = {} if traceparent is None else {"traceparent": traceparent}
    async with visitor(url, headers=headers) as client:
        await client.ask(join={"room_id": "lobby"})
        sent = await client.ask(chat_message=message("lobby", CONTENTS))
        assert sent["chat_message"]["seq"] == 1
        assert "user" in await client.ask(get_user={"user_id": "ada"})
        assert "error" in await client.ask(get_user={"user_id": "nobody"})


async def test_handshake_span_is_the_parent(chat_proxy: proxy.RunningProxy, spans: Spans) -> None:
    await talk(chat_proxy.url, traceparent=SAMPLED)
    [connection] = await spans.named("connection")
    assert parent_of(connection) == "b7ad6b7169203331"
    assert noted(connection).items() >= {"chat.close_code": 1000, "chat.frames": 4}.items()
    [join], [stored] = await spans.named("join"), await spans.named("message")
    assert parent_of(join) == parent_of(stored) == id_of(connection)
    assert (stored.kind, noted(stored)) == (SpanKind.SERVER, {"chat.seq": 1})
    calls = await spans.named("chat.ChatService/GetUser", 4)
    asked = [span for span in calls if span.kind is SpanKind.CLIENT]
    served = [span for span in calls if span.kind is SpanKind.SERVER]
    assert [parent_of(span) for span in asked] == [id_of(connection)] * 2
    assert [parent_of(span) for span in served] == [id_of(span) for span in asked]
    codes = [noted(span)["rpc.response.status_code"] for span in served]
    assert codes == ["OK", "NOT_FOUND"]
    assert [noted(span).get("error.type") for span in asked] == [None, "NOT_FOUND"]
    assert {trace_of(span) for span in spans.ended} == {TRACE}
    assert all(CONTENTS not in span.to_json() for span in spans.ended)


async def test_connection_without_parent_begins_a_trace(
    chat_proxy: proxy.RunningProxy, spans: Spans
) -> None:
    for traceparent in (None, "nonsense", f"00-{'0' * 32}-b7ad6b7169203331-01"):
        headers = {"traceparent": traceparent} if traceparent else {}
        async with visitor(chat_proxy.url, headers=headers) as client:
            await client.ask(get_user={"user_id": "nobody"})
    connections = await spans.named("connection", 3)
    assert all(span.parent is None for span in connections)
    calls = await spans.named("chat.ChatService/GetUser", 6)
    assert {trace_of(span) for span in calls} == {trace_of(span) for span in connections}
    assert len({trace_of(span) for span in connections}) == 3


async def test_unsampled_trace_is_not_recorded(
    chat_proxy: proxy.RunningProxy, spans: Spans
) -> None:
    await talk(chat_proxy.url, traceparent=UNSAMPLED)
    # The next connection alone is recorded.
    async with visitor(chat_proxy.url) as client:
        await client.ask(chat_message=message("lobby"))
    await spans.named("message")
    [connection] = await spans.named("connection")
    assert {trace_of(span) for span in spans.ended} == {trace_of(connection)}
    assert trace_of(connection) != TRACE


async def test_application_calls_are_traced(chat_server: Any, spans: Spans) -> None:
    async with channel_to(chat_server) as channel:
        stub = ChatServiceStub(channel, metadata={"traceparent": SAMPLED})
        with pytest.raises(GRPCError):
            await stub.get_user(GetUserRequest("nobody"))
        async with ChatCall(stub) as call:
            await call.post(chat_message(content=CONTENTS))
            call.end()
            await call.rest()
    [asked] = await spans.named("chat.ChatService/GetUser")
    [lived] = await spans.named("chat.ChatService/Chat")
    for span in (asked, lived):
        assert (trace_of(span), parent_of(span)) == (TRACE, "b7ad6b7169203331")
        # A refusal is the caller's failure.
        assert span.status.status_code is StatusCode.UNSET
    assert noted(lived)["rpc.response.status_code"] == "OK"
    assert all(CONTENTS not in span.to_json() for span in spans.ended)


async def test_relay_ignores_a_wrong_traceparent(chat_server: Any, spans: Spans) -> None:
    async with channel_to(chat_server) as channel, RelayCall(RelayServiceStub(channel)) as call:
        for ref, traceparent in enumerate(("", "nonsense", "x" * 100_000, SAMPLED), 1):
            text = chat_message(content=str(ref))
            call.batch(RelayCommand(ref=ref, chat_message=text, traceparent=traceparent))
            assert (await call.event()).ref == ref
        *others, last = await spans.named("message", 3)
        assert all(span.parent is None for span in others)
        assert parent_of(last) == "b7ad6b7169203331"


@pytest.mark.parametrize("code", BREAKING)
async def test_failed_message_is_traced(
    chat_config: chat.Config, chat_proxy: proxy.RunningProxy, spans: Spans, code: str
) -> None:
    broken(Path(chat_config.database), code)
    async with visitor(chat_proxy.url) as client:
        answer = await client.ask(chat_message=message("lobby", CONTENTS))
        assert answer["error"]["code"] == code
    [failed] = await spans.named("message")
    assert noted(failed) == {"error.type": code}
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.status.description is None


class Collector(BaseHTTPRequestHandler):
    """Receives spans by OTLP over HTTP."""

    taken: list[ExportTraceServiceRequest]

    def do_POST(self) -> None:
        """Keeps the request body."""
        assert self.path == "/v1/traces"
        body = self.rfile.read(int(self.headers["content-length"]))
        self.taken.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


@pytest.fixture
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """The address of a collector, and its received spans."""
    taken: list[ExportTraceServiceRequest] = []
    handler = type("Handler", (Collector,), {"taken": taken})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", taken
        server.shutdown()
        thread.join()


async def test_spans_reach_a_collector(
    tmp_path: Path, collector: tuple[str, list[ExportTraceServiceRequest]]
) -> None:
    endpoint, taken = collector
    otel = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_COMPRESSION": "none"}
    form = ("--log-level", "debug", "--log-format", "json")
    async with both_logged(tmp_path, *form, **otel) as (server, door):
        await talk(door.address, traceparent=SAMPLED)
        await server.event("call ended", trace_id=TRACE)
        await door.event("connection closed", trace_id=TRACE)
    found = {
        (resource.resource.attributes[index].value.string_value, span.name): span
        for batch in taken
        for resource in batch.resource_spans
        for index, each in enumerate(resource.resource.attributes)
        if each.key == "service.name"
        for scope in resource.scope_spans
        for span in scope.spans
    }
    assert {span.trace_id.hex() for span in found.values()} == {TRACE}
    connection = found["chat-proxy", "connection"]
    assert connection.parent_span_id.hex() == "b7ad6b7169203331"
    assert found["chat-server", "message"].parent_span_id == connection.span_id
    asked = found["chat-proxy", "chat.ChatService/GetUser"]
    assert asked.parent_span_id == connection.span_id
    assert found["chat-server", "chat.ChatService/GetUser"].parent_span_id == asked.span_id
    assert all(CONTENTS not in str(batch) for batch in taken)


async def test_absent_collector_delays_nobody(tmp_path: Path, unused_tcp_port: int) -> None:
    otel = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{unused_tcp_port}"}
    async with both_logged(tmp_path, **otel) as (_, door):
        await talk(door.address, traceparent=SAMPLED)
        async with asyncio.timeout(20):
            door.process.terminate()
            assert await door.process.wait() == 0


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, False),
        ({"OTEL_SDK_DISABLED": "True", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, False),
    ],
)
def test_environment_switches_tracing_on(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], wanted: bool
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    tracer = tracer_of_environment("chat-server")
    assert (tracer is not None) == wanted
    if tracer is not None:
        tracer.close()


def test_tracing_off_imports_nothing() -> None:
    text = "import sys, chat.__main__, proxy.__main__; from hosting.tracing import setup\n"
    text += "assert setup.tracer_of_environment('x') is None\n"
    text += "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    assert run_program(text) == ("[]\n", "")


def test_tracing_without_the_extra_warns() -> None:
    text = "import sys; sys.modules['opentelemetry'] = None\n"
    text += "from hosting.tracing import setup; from hosting.logs import configure_logs\n"
    text += "configure_logs('info'); assert setup.tracer_of_environment('x') is None"
    _, errors = run_program(text, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1")
    [line] = errors.splitlines()
    assert "level=warning" in line
    assert "extra 'tracing' is not installed" in line


def test_tests_have_the_tracing_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extra = project["project"]["optional-dependencies"]["tracing"]
    assert extra
    assert all(each in project["dependency-groups"]["tests"] for each in extra)
