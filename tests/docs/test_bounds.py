"""The bounds promised in docs/reliability.md are those of the code."""

import re
from typing import Final, NamedTuple

import pytest

import chat
import proxy
from chat.api.chat_stream import _MOST_REQUEST_IDS
from chat.api.relay import _STORE_CHARACTERS, MOST_COMMANDS
from chat.api.typing_turns import _MOST as _MOST_TYPING
from chat.api.typing_turns import TURN_SECONDS
from chat.core.attendance import MOST_NAMES, MOST_OF_LINK, MOST_OF_STREAM, MOST_SHOWN
from chat.core.joining import _REPLAY_PAGE
from chat.core.mailbox import ITEM_BYTES
from chat.core.stream import _CHUNK_BYTES
from chat.core.telling_presence import PRESENCE_SECONDS
from chat.core.telling_typists import MOST_IN_ROOM, TYPING_SECONDS
from chat.core.typists import MOST_TYPISTS
from chat.server import _BATCH_BYTES as _LARGEST_BATCH
from chat.server import _ENVELOPE_BYTES
from chat.storage.base import PAGE_BYTES
from chat.storage.sqlite.jobs import _MESSAGE_OVERHEAD as _STORED_OVERHEAD
from chat.storage.sqlite.journal import _FULL, FOLD_BYTES
from chat.storage.sqlite.reader import _THREADS
from chat.storage.sqlite.schema import _CACHE_KIB
from chat.storage.sqlite.writer import _AHEAD_BYTES, _COMMIT_BYTES
from hosting.grpc.server import WINDOWS
from proxy.clients.socket import _LINGER_SECONDS
from proxy.clients.turns import TURN_WORK
from proxy.core.outbox import _BATCH_BYTES, _BATCH_COMMANDS
from proxy.core.switchboard import _OVERHEAD
from tests.docs.markdown import ROOT, Section, section, sections
from tests.docs.memory import MIB, stated
from tests.docs.test_docs import COMMANDS, number, options

PAGE: Final = ROOT / "docs/reliability.md"
QUEUES: Final = "Every queue"
# Heartbeats until a silent peer counts as dead.
_PATIENCE: Final = 1.5

_FIGURE: Final = re.compile(r"(?<![\w.])(\d[\d,.]*\d|\d)(?: (KiB|MiB|Ki|s)\b)?")
_UNITS: Final = {"KiB": 1 << 10, "MiB": 1 << 20, "Ki": 1 << 10}


def figures(text: str) -> list[float]:
    """The numbers in a text; with a unit of size, in bytes or characters."""
    return [
        float(figure.replace(",", "")) * _UNITS.get(unit, 1)
        for figure, unit in _FIGURE.findall(text)
    ]


class Held(NamedTuple):
    """The bounds of a row of the tables.

    Attributes:
        queue: the first words of the row.
        bounds: the figures, in order.
    """

    queue: str
    bounds: tuple[float, ...]


_CHAT: Final = chat.Config()
_PROXY: Final = proxy.Config()
_WINDOW: Final = WINDOWS.http2_stream_window_size
_LARGEST_MESSAGE: Final = _CHAT.limits.content_bytes + _ENVELOPE_BYTES
_PAGE_OF_TEXT: Final = (_REPLAY_PAGE, PAGE_BYTES)

ROWS: Final = [
    Held("frames of a connection in one turn", (TURN_WORK,)),
    Held("a batch on its way", (_BATCH_COMMANDS, _BATCH_BYTES)),
    Held("unary calls", (_CHAT.connection_limits.streams_per_connection,)),
    Held("data of a call", (_WINDOW, _LARGEST_MESSAGE, _LARGEST_BATCH)),
    Held("commands of a proxy's batch", (MOST_COMMANDS,)),
    Held("messages that wait for the disk", (_STORE_CHARACTERS,)),
    Held("request ids of a `Chat` stream", (_MOST_REQUEST_IDS,)),
    Held("a commit", (_COMMIT_BYTES,)),
    Held("commits that the event loop", (_AHEAD_BYTES,)),
    Held("messages that are on disk", (_FULL * FOLD_BYTES, 3 * FOLD_BYTES)),
    Held("users in rooms", (MOST_OF_STREAM, MOST_NAMES, MOST_OF_LINK)),
    Held("who types in a room, by name", (MOST_TYPISTS, TURN_SECONDS, _MOST_TYPING)),
    Held("mailbox of a gRPC stream", (_CHAT.mailbox_bytes, _CHUNK_BYTES)),
    Held("mailbox of a proxy", (_CHAT.relay_mailbox_bytes,)),
    Held("a replay, `Chat` and `Relay`", _PAGE_OF_TEXT),
    Held(
        "who types in a room, and",
        (MOST_TYPISTS, TYPING_SECONDS, MOST_SHOWN, PRESENCE_SECONDS, MOST_IN_ROOM),
    ),
    Held("a connection's write buffer", (_PROXY.mailbox_bytes, _CHUNK_BYTES)),
    Held("a replay, or answers", (PAGE_BYTES,)),
]


def rows() -> list[list[str]]:
    return list(section(PAGE, QUEUES).rows())


@pytest.mark.parametrize("held", ROWS, ids=lambda held: held.queue)
def test_queue_bounds_match_the_code(held: Held) -> None:
    [row] = [each for each in rows() if each[0].startswith(held.queue)]
    assert figures(row[1]) == list(held.bounds)


def test_rows_with_figures_are_checked() -> None:
    """Except one: the read buffer of a connection is aiohttp's."""
    said = [row[0] for row in rows() if figures(row[1])]
    held = [queue for queue in said if any(queue.startswith(each.queue) for each in ROWS)]
    assert said[0].startswith("frames of a connection that were read")
    assert held == said[1:]


def test_delays_match_the_code() -> None:
    [row] = [each for each in rows() if each[0].startswith("a connection's write buffer")]
    assert f"after {_LINGER_SECONDS:.0f} s" in row[2]
    [row] = [each for each in rows() if each[0].startswith("look-ups")]
    assert {2: "two threads"}[_THREADS] in row[0]


def test_option_defaults_match_the_code() -> None:
    named = [
        (option, default)
        for row in rows()
        for option, default in re.findall(r"`(--[a-z-]+)` \(([^)]*)\)", row[3])
    ]
    assert len(named) >= 6
    for option, default in named:
        defaults = {
            float(options(command)[option][1])
            for command in COMMANDS.values()
            if option in options(command)
        }
        assert defaults == {number(default.removesuffix(" s"))}, option


def test_named_options_exist() -> None:
    known = {option for command in COMMANDS.values() for option in options(command)}
    assert {each for row in rows() for each in re.findall(r"`(--[a-z-]+)`", row[3])} <= known


def test_overheads_match_the_code() -> None:
    text = " ".join(section(PAGE, QUEUES).lines)
    assert "with its text in UTF-8 and 1 KiB more" in text
    assert {_OVERHEAD, _STORED_OVERHEAD, 1 << 10} == {1 << 10}
    assert f"In a mailbox it is counted as it is written, with {ITEM_BYTES} bytes more" in text


def of(title: str) -> str:
    """The text of a section."""
    [found] = [each for each in sections(PAGE) if each.title == title]
    assert isinstance(found, Section)
    return " ".join(" ".join(found.lines).split())


def test_guarantees_name_the_defaults() -> None:
    promises, limits = of("Guarantees"), of("Limits")
    server = _PROXY.upstream_heartbeat_seconds * _PATIENCE
    client = _PROXY.heartbeat_seconds * _PATIENCE
    assert client == _CHAT.connection_limits.heartbeat_seconds * _PATIENCE
    assert f"a silent server within {server:.0f} seconds" in promises
    assert f"a silent client, within {client:.0f} (by default)" in promises
    assert f"At {_PROXY.mailbox_bytes >> 20} MiB waiting" in promises
    assert f"For {_PROXY.hold_seconds:.0f} seconds, or {_PROXY.hold_bytes >> 20} MiB" in limits
    assert f"More than {_PROXY.replay_messages:,} messages are not replayed" in limits
    assert _PROXY.replay_messages == _CHAT.replay_messages


def test_memory_formulas_match_the_bounds() -> None:
    text = of("How much memory")
    of_proxy, of_server = stated()
    assert of_proxy.sends == _PROXY.hold_bytes
    [unread] = [row[1] for row in rows() if row[0].startswith("frames of a connection that were")]
    queued, _, read, times = figures(unread)
    assert of_proxy.inward == pytest.approx(queued + read + times * _PROXY.frame_bytes, rel=0.05)
    assert of_proxy.outward == _PROXY.mailbox_bytes + _CHUNK_BYTES
    # As text, and again as a frame or as bytes of the answer.
    assert of_proxy.replay == 2 * PAGE_BYTES
    assert of_server.sends == _CHAT.write_queue_bytes
    assert of_server.journal_of_long == _FULL * FOLD_BYTES
    [times] = [int(each) for each in re.findall(r"takes (\d+) times its JSON", text)]
    assert of_server.journal_of_short == times * _FULL * FOLD_BYTES
    # The writer's; the two readers have SQLite's default, 2 MB each.
    assert of_server.caches == (_CACHE_KIB << 10) + 2 * _THREADS * MIB
    assert of_server.proxy == _CHAT.relay_mailbox_bytes
    assert of_server.inward == _WINDOW
    assert of_server.outward == _CHAT.mailbox_bytes + _CHUNK_BYTES
    assert f"each may have {_PROXY.hold_bytes >> 21} MiB of unconfirmed sends" in text
