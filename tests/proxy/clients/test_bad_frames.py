"""Bad frames get an error that names the field, and disturb no other client."""

import json
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

import pytest
from aiohttp import WSMsgType
from structlog.testing import capture_logs

import chat
import proxy
from tests.kit.web import RawWebSocket, masked
from tests.proxy.web_client import Client, Connect, Frame, Http, contents, message, seqs
from tests.support import told

LIMIT = proxy.Config().frame_bytes


@pytest.fixture
def chat_config() -> chat.Config:
    """A server in memory: refused frames never reach the disk."""
    return chat.Config(host="127.0.0.1", port=0, database=chat.IN_MEMORY)


def said(**changes: Any) -> bytes:
    """A message frame with one wrong part."""
    fields = message("lobby", id="1") | changes
    return json.dumps({"chat_message": {k: v for k, v in fields.items() if v is not ...}}).encode()


def asked(field: str, **fields: Any) -> bytes:
    """Another frame."""
    return json.dumps({field: fields}).encode()


# The decoder is tested with many more.
NOT_JSON = [
    b"",
    b"{",
    b'{"join": {"room_id": "lobby"}} {}',
    b'{"join": {"room_id": "lob\nby"}}',
    b'{"join": {"room_id": "lob\xffby"}}',
    b'{"join": {"room_id": "\\ud800"}}',
    b'{"request_id": "\\ud83d", "leave": {"room_id": "lobby"}}',
    b'{"join": {"room_id": "lobby", "after_seq": NaN}}',
    b"\xef\xbb\xbf{}",
    b"GET / HTTP/1.1\r\n\r\n",
    b'{"join":' + b'{"join":' * 7_000 + b"1" + b"}" * 7_001,
    b"[" * LIMIT,
]

NOT_ONE_PAYLOAD = [
    b"[]",
    b"null",
    b'"join"',
    b'[{"join": {"room_id": "lobby"}}]',
    b"{}",
    b'{"request_id": "7"}',
    b'{"join": null}',
    b'{"chat_message": null, "request_id": null}',
    b'{"join": {"room_id": "lobby"}, "leave": {"room_id": "lobby"}}',
    b'{"chat_message": {}, "get_user": {}}',
]

# By the path that the error begins with.
WRONG_VALUES = [
    ("chat_message", b'{"chat_message": "hello"}'),
    ("join", b'{"join": [1, 2]}'),
    ("get_user", b'{"get_user": {"user_id": "ada"}, "getUser": {"user_id": "ada"}}'),
    ("request_id", b'{"request_id": 7, "leave": {"room_id": "lobby"}}'),
    ("request_id", b'{"request_id": "a", "requestId": "b", "leave": {"room_id": "lobby"}}'),
    ("chat_message.room_id", said(room_id=["lobby"])),
    ("chat_message.room_id", said(roomId="lobby")),
    ("chat_message.seq", said(seq=2**32)),
    ("chat_message.sent_at", said(sent_at="2026-02-30T00:00:00Z")),
    ("join.after_seq", asked("join", room_id="lobby", after_seq=-1)),
    ("join.after_seq", asked("join", room_id="lobby", after_seq="1 ")),
    ("join.after_seq", asked("join", room_id="lobby", after_seq="٣")),
    ("leave.room_id", asked("leave", room_id=True)),
    ("get_chat_history.limit", asked("get_chat_history", room_id="lobby", limit=2**31)),
    ("upsert_user.email", asked("upsert_user", user_id="ada", name="Ada", email=[])),
]

UNKNOWN_FIELDS = [
    ("Join", b'{"Join": {"room_id": "lobby"}}'),
    ("token", b'{"join": {"room_id": "lobby"}, "token": "x"}'),
    ("chat_message.text", said(text="hello")),
    ("chat_message.__class__", said(__class__="dict")),
    ("get_chat_history.offset", asked("get_chat_history", room_id="lobby", offset=1)),
    ("joined", b'{"joined": {"room_id": "lobby"}}'),
]

# Well-formed, and against the rules of the server, which are tested there.
AGAINST_THE_RULES = [
    ("chat_message.room_id", said(room_id=None)),
    ("chat_message.room_id", said(room_id=...)),
    ("chat_message.room_id", said(room_id="lob\x00by")),
    ("chat_message.sender_id", said(sender_id="x" * 65)),
    ("chat_message.id", said(id="\u2028")),
    ("chat_message.content", said(content="")),
    ("chat_message.content", said(content="é" * 8193)),
    ("join.room_id", asked("join")),
    ("join.room_id", asked("join", room_id="\t", after_seq=0)),
    ("leave.room_id", asked("leave", room_id="")),
    ("get_chat_history.room_id", asked("get_chat_history")),
    ("get_chat_history.limit", asked("get_chat_history", room_id="lobby", limit=-1)),
    ("get_user.user_id", asked("get_user", user_id="a\x00")),
    ("upsert_user.user_id", asked("upsert_user", name="Ada")),
    ("upsert_user.name", asked("upsert_user", user_id="ada")),
    ("list_users.page_size", asked("list_users", page_size=-1)),
]

BAD_FRAMES = [
    *(("frame", payload) for payload in NOT_JSON + NOT_ONE_PAYLOAD),
    *WRONG_VALUES,
    *UNKNOWN_FIELDS,
    *AGAINST_THE_RULES,
    ("frame", b'{"join": {"room_id": "' + b"x" * LIMIT + b'"}}'),
]


@pytest.fixture
async def witness(connect: Connect) -> Client:
    """Another client, in the room "lobby"."""
    client = await connect()
    await client.ask(join={"room_id": "lobby"})
    return client


@pytest.fixture
async def client(connect: Connect, witness: Client) -> AsyncIterator[Client]:
    """A client that will send bad frames.

    Afterwards it and the witness must still get messages and nothing else, and nothing
    may have been logged.
    """
    with capture_logs() as logs:
        client = await connect()
        yield client
        answer = await client.ask(chat_message=message("lobby", "good"))
        assert seqs([answer]) == [1]
        assert contents([await witness.receive()]) == ["good"]
        assert await witness.barrier() == []
    assert told(logs) == []


def check(answer: Frame, path: str) -> None:
    error = answer["error"]
    assert answer.keys() <= {"error", "request_id"}
    assert error["code"] == "INVALID_ARGUMENT"
    assert error["message"].startswith(f"{path}: "), error
    assert len(error["message"]) < 300
    assert error["message"].isprintable()
    assert error["retryable"] is False


async def test_bad_frame_is_refused_and_named(client: Client) -> None:
    for path, payload in BAD_FRAMES:
        await client.send_text(payload)
        check(await client.receive(), path)


async def test_bad_frame_burst_keeps_order(client: Client) -> None:
    for _, payload in BAD_FRAMES:
        await client.send_text(payload)
    expected = [path for path, _ in BAD_FRAMES]
    # The server's refusal of a message comes behind the proxy's own refusals.
    late = [path for path, _ in AGAINST_THE_RULES if path.startswith("chat_message.")]
    answers = await client.take(len(expected))
    got = [answer["error"]["message"].partition(": ")[0] for answer in answers]
    assert [path for path in got if path in late] == [path for path in expected if path in late]
    assert sorted(got) == sorted(expected)


async def test_binary_frame_is_refused(client: Client) -> None:
    for payload in (b"", b"{}", b"\x00\xff", b"x" * (LIMIT + 1)):
        await client.socket.send_bytes(payload)
        check(await client.receive(), "frame")


async def test_error_keeps_the_request_id(client: Client) -> None:
    wrong: list[Frame] = [
        {"nonsense": 1},
        {"join": {"room_id": 7}},
        {"join": {"room_id": ""}},
        {"chat_message": message("lobby", "")},
        {"chat_message": {}, "join": {}},
        {"get_user": {"user_id": ""}},
        {},
    ]
    for frame in wrong:
        for key in ("request_id", "requestId"):
            await client.send(**frame, **{key: "mine"})
            answer = await client.receive()
            assert answer.pop("request_id") == "mine"
            assert answer["error"]["code"] == "INVALID_ARGUMENT"


async def test_last_duplicate_key_counts(client: Client) -> None:
    await client.send_text(b'{"leave": {"room_id": "one", "room_id": "two"}}')
    assert await client.receive() == {"left": {"room_id": "two"}}
    await client.send_text(b'{"leave": {"room_id": "one"}, "leave": {"room_id": "two"}}')
    assert await client.receive() == {"left": {"room_id": "two"}}


async def test_numbers_have_several_forms(client: Client) -> None:
    for position in (0, 0.0, "0", -0.0, "-0", None):
        answer = await client.ask(join={"room_id": "attic", "after_seq": position})
        assert answer["joined"]["recovered"] is (position is not None), position


async def test_refused_sender_is_no_user(client: Client) -> None:
    answer = await client.ask(chat_message=message("attic", "", sender_id="eve"))
    check(answer, "chat_message.content")
    error = (await client.ask(get_user={"user_id": "eve"}))["error"]
    assert error["code"] == "NOT_FOUND"


# Too large, and against RFC 6455.


async def test_frame_size_is_bounded(client: Client) -> None:
    frame = b'{"leave": {"room_id": "attic"}}'
    await client.send_text(frame.ljust(LIMIT))
    assert await client.receive() == {"left": {"room_id": "attic"}}
    for size in (LIMIT + 1, 4 * LIMIT):
        await client.send_text(frame.ljust(size))
        check(await client.receive(), "frame")


async def test_much_larger_frame_closes_connection(client: Client, connect: Connect) -> None:
    giant = await connect()
    await giant.ask(join={"room_id": "lobby"})
    await giant.send_text(b" " * (4 * LIMIT + 1))
    assert await giant.closed() == 1009
    assert await client.barrier() == []


async def test_fragments_make_one_message(client: Client, http: Http) -> None:
    with closing(await RawWebSocket.connect(http)) as raw:
        await raw.send_bytes(masked(WSMsgType.TEXT, b'{"leave": {"ro', first_bits=0))
        await raw.send_bytes(masked(WSMsgType.PING, b"between"))
        await raw.send_bytes(masked(WSMsgType.CONTINUATION, b'om_id": "attic"}}'))
        pong = await raw.read_frame()
        assert pong == (WSMsgType.PONG, b"between")
        assert await raw.read_json() == {"left": {"room_id": "attic"}}
    assert await client.barrier() == []


async def test_vanished_client_disturbs_no_others(client: Client, http: Http) -> None:
    for rest in (b"", b"\x81", b"\x81\xfe\xff", masked(1, b"x" * 99)[:50]):
        with closing(await RawWebSocket.connect(http)) as vanishing:
            await vanishing.send(join={"room_id": "lobby"})
            assert "joined" in await vanishing.read_json()
            await vanishing.send_bytes(rest)
        assert await client.barrier() == []


ENVELOPE = (
    'expected one payload, such as {"chat_message": '
    '{"room_id": "lobby", "sender_id": "ada", "content": "hello"}}'
)


EXPLAINED = {
    '{"room_id": "lobby", "content": "hi"}': f"room_id: unknown field; {ENVELOPE}",
    '{"type": "chat_message"}': f"type: unknown field; {ENVELOPE}",
    "{}": f"frame: {ENVELOPE}",
    '{"request_id": "1"}': f"frame: {ENVELOPE}",
    "[]": f"frame: expected an object; {ENVELOPE}",
    '"hi"': f"frame: expected an object; {ENVELOPE}",
    "{": f"frame: not valid JSON: unexpected end of data (character 1); {ENVELOPE}",
    # A frame with an envelope gets an error of the field alone.
    '{"chat_message": {"rom_id": ""}}': "chat_message.rom_id: unknown field",
    '{"chat_message": []}': "chat_message: expected an object",
}


async def test_frame_without_envelope_is_explained(connect: Connect) -> None:
    client = await connect()
    for frame, text in EXPLAINED.items():
        await client.send_text(frame.encode())
        error = (await client.receive())["error"]
        assert (error["code"], error["message"]) == ("INVALID_ARGUMENT", text)
    example = json.loads(ENVELOPE.partition("such as ")[2])
    assert contents([await client.ask(**example)]) == ["hello"]
