"""Measures the compiled codec.

Compared with betterproto's own methods of the same classes, on one message; and with google's
protobuf library, written in C, on a batch of a hundred.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

import codec
from bench.options import Options
from bench.report import Section, Table
from chat.api.batches import Columns
from gen.chat import ChatMessage, ChatStream, Error, RelayEvent, RelayRequest, RelayResponse
from proxy.core.client import Client
from proxy.core.outbox import Outbox, as_command, as_request
from proxy.core.unconfirmed import UnconfirmedSend

DESCRIPTORS = Path(__file__).parents[1] / "gen" / "descriptor.binpb"
ROUND_SECONDS = 0.02

Work = Callable[[], object]


def micros(work: Work, rounds: int) -> float:
    """Returns the time of some work, in microseconds: the best of a few rounds."""
    times = 1
    while (took := _time(work, times)) < ROUND_SECONDS:
        times = max(times * 2, int(times * ROUND_SECONDS / max(took, 1e-9)))
    return min(_time(work, times) / times for _ in range(rounds)) * 1e6


def _time(work: Work, times: int) -> float:
    begun = perf_counter()
    for _ in range(times):
        work()
    return perf_counter() - begun


def message(number: int) -> ChatMessage:
    """Returns a typical message."""
    return ChatMessage(
        id=f"0192f3c4-5d6e-7f80-9a1b-{number:012d}",
        room_id="lobby",
        sender_id=f"user-{number}",
        content=f"Hello there, this is message number {number}.",
        seq=1000 + number,
        sent_at=datetime(2025, 11, 22, 12, 30, number % 60, 123_456 + number, tzinfo=UTC),
    )


def against_betterproto() -> list[tuple[str, Work, Work]]:
    """Returns the four conversions of a ChatStream with a ChatMessage."""
    stream = ChatStream(chat_message=message(1))
    data, text = codec.encode(stream), codec.to_json(stream)
    return [
        ("decode", lambda: codec.decode(ChatStream, data), lambda: ChatStream().parse(data)),
        ("encode", lambda: codec.encode(stream), lambda: bytes(stream)),
        (
            "from JSON",
            lambda: codec.from_json(ChatStream, text),
            lambda: ChatStream().from_json(text),
        ),
        ("to JSON", lambda: codec.to_json(stream), stream.to_json),
    ]


def against_google() -> list[tuple[str, Work, Work]]:
    """Returns the conversions of a RelayResponse with a hundred messages."""
    batch = RelayResponse(events=[RelayEvent(chat_message=message(n)) for n in range(100)])
    data = codec.encode(batch)
    google = _google_class("chat.RelayResponse")
    theirs = google.FromString(data)
    return [
        ("decode", lambda: codec.decode(RelayResponse, data), lambda: google.FromString(data)),
        (
            "decode to Python objects",
            lambda: codec.decode(RelayResponse, data),
            lambda: _read(google.FromString(data)),
        ),
        ("encode", lambda: codec.encode(batch), theirs.SerializeToString),
    ]


def columns_against_google() -> list[tuple[str, Work, Work]]:
    """Returns the conversions of the same messages as columns, as a proxy sends them."""
    outbox = Outbox()
    outbox.open()
    sends = [UnconfirmedSend(n, message(n), _Nobody(), None, 0) for n in range(64)]
    for send in sends:
        outbox.put(send, 0)
    data = codec.encode(as_request(outbox.take()))
    plain = RelayRequest(commands=[as_command(send) for send in sends])
    google = _google_class("chat.RelayRequest")
    alone = codec.encode(plain)

    def read() -> None:
        [command] = codec.decode(RelayRequest, data).commands
        for _ in Columns(command.chat_messages):
            pass

    return [
        ("decode", lambda: codec.decode(RelayRequest, data), lambda: google.FromString(data)),
        ("decode to messages", read, lambda: google.FromString(data)),
        ("the same, beside one by one", read, lambda: google.FromString(alone)),
    ]


class _Nobody(Client):
    """A client without a token, which discards its frames."""

    def write(self, frame: bytes) -> None:
        """Does nothing."""

    def note_rate_limited(self) -> None:
        """Does nothing."""

    def dismiss(self, error: Error) -> None:
        """Does nothing."""


def _read(batch: Any) -> None:
    """Reads the fields: only then google's library creates Python objects."""
    for event in batch.events:
        each = event.chat_message
        _ = (each.id, each.room_id, each.sender_id, each.content, each.seq)
        _ = each.sent_at.ToDatetime(UTC)


def _google_class(name: str) -> Any:
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(DESCRIPTORS.read_bytes()).file:
        pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName(name))


async def measure(options: Options) -> Section:
    """Measures a table for each library."""
    tables, data = [], {}
    for title, other, pairs in (
        ("Codec: one ChatStream with a message", "betterproto", against_betterproto()),
        ("Codec: a RelayResponse of 100 messages", "google upb", against_google()),
        ("Codec: a full batch of 64, as columns", "google upb", columns_against_google()),
    ):
        rows = data[title] = [_row(*each, 3 if options.quick else 15) for each in pairs]
        columns = (
            ("", "{name}"),
            ("codec, µs", "{codec_us:.2f}"),
            (f"{other}, µs", "{other_us:.1f}"),
            (f"{other} / codec", "{ratio:.3g}"),
        )
        tables.append(Table.of(title, columns, rows))
    return Section(tables, data)


def _row(name: str, ours: Work, theirs: Work, rounds: int) -> dict[str, object]:
    us, them = micros(ours, rounds), micros(theirs, rounds)
    return {"name": name, "codec_us": us, "other_us": them, "ratio": them / us}
