"""Sending: once, in order, within limits."""

import asyncio
import json
from contextlib import closing
from dataclasses import replace

from aiohttp import WSMsgType

import proxy
from tests.kit.web import RawWebSocket, masked
from tests.proxy.web_client import (
    Connect,
    Frame,
    Http,
    contents,
    joined,
    message,
    seqs,
    serve_http,
)
from tests.proxy.web_client import connect as connect_to
from tests.support import PATIENCE_SECONDS


async def test_repeated_message_adds_nothing(connect: Connect) -> None:
    sender, other, reader = await connect(), await connect(), await connect()
    await reader.ask(join={"room_id": "lobby"})
    first = await sender.ask(chat_message=message("lobby", "first", id="same"))
    for client in (sender, other):
        again = await client.ask(chat_message=message("lobby", "changed", id="same"))
        assert again == first
    await sender.ask(chat_message=message("lobby", "next", id="other"))
    assert contents(await reader.take(2)) == ["first", "next"]
    assert await reader.barrier() == []


async def test_copies_in_burst_stored_once(connect: Connect) -> None:
    clients = [await connect() for _ in range(3)]
    reader = await connect()
    await reader.ask(join={"room_id": "lobby"})
    for number in range(4):
        for client in clients:
            await client.send(
                chat_message=message("lobby", "copy", id="same"), request_id=str(number)
            )
    assert contents([await reader.receive()]) == ["copy"]
    received = 0
    for client in clients:
        answered: set[str] = set()
        while len(answered) < 4:
            frame = await client.receive()
            assert seqs([frame]) == [1]
            assert frame.get("request_id") not in answered
            answered |= {frame["request_id"]} if "request_id" in frame else set()
            received += 1
    # Twelve answers; beside them the two that did not send the original get it.
    assert received == 14
    await clients[0].say("lobby", "end")
    assert seqs([await reader.receive()]) == [2]


async def test_same_id_of_another_or_in_other_room(connect: Connect) -> None:
    client = await connect()
    first = message("lobby", "first", id="same")
    await client.ask(chat_message=first)
    for changed in ({"sender_id": "bob"}, {"room_id": "attic"}):
        answer = await client.ask(chat_message={**first, "content": "second", **changed})
        assert contents([answer]) == ["second"]


async def test_missing_id_is_filled_in(connect: Connect) -> None:
    client = await connect()
    missing: list[Frame] = [{}, {"id": ""}, {"id": None}]
    answers = [await client.ask(chat_message=message("lobby", **each)) for each in missing * 2]
    ids = {answer["chat_message"]["id"] for answer in answers}
    assert len(ids) == 6
    assert "" not in ids
    assert seqs(answers) == [1, 2, 3, 4, 5, 6]


async def test_server_fields_cannot_be_forged(connect: Connect) -> None:
    client = await connect()
    forged = message("lobby", seq=77, sent_at="2001-02-03T04:05:06Z")
    answer = await client.ask(chat_message=forged)
    assert answer["chat_message"]["seq"] == 1
    assert not answer["chat_message"]["sent_at"].startswith("2001")


TEXTS = [
    " ",
    "\n\t\r\x01\x1f\x7f",
    'quotes " and \\ and </script>',
    "👩‍👩‍👧 \u202e\ufeff\u2028\U0010ffff",
    "a" * 16384,
    "\x01" * 10_000,
    "é" * 8192,
]


async def test_any_text_arrives_unchanged(connect: Connect) -> None:
    client, reader = await connect(), await connect()
    await reader.ask(join={"room_id": "lobby"})
    # Raw UTF-8 where JSON allows it.
    escaped = {code: f"\\u{code:04x}" for code in range(32)} | {34: '\\"', 92: "\\\\"}
    for content in TEXTS:
        text = content.translate(escaped)
        frame = f'{{"chat_message":{{"room_id":"lobby","sender_id":"ada","content":"{text}"}}}}'
        await client.send_text(frame.encode())
        for each in (client, reader):
            assert contents([await each.receive()]) == [content]


async def test_answers_keep_the_frame_order(connect: Connect) -> None:
    client = await connect()
    await client.ask(chat_message=message("lobby"))
    kinds: list[Frame] = [
        {"get_user": {"user_id": "ada"}},
        {"join": {"room_id": "attic"}},
        {"nonsense": {}},
        {"get_chat_history": {"room_id": "lobby"}},
        {"leave": {"room_id": "attic"}},
        {"list_users": {}},
        {"get_user": {"user_id": "nobody"}},
    ]
    for number in range(70):
        await client.send(**kinds[number % len(kinds)], request_id=str(number))
    frames = await client.take(70)
    assert [frame["request_id"] for frame in frames] == [str(number) for number in range(70)]


# Limits.


async def test_rooms_per_connection_are_bounded(proxy_config: proxy.Config) -> None:
    config = proxy.Config(upstream=proxy_config.upstream, rooms_per_connection=2)
    async with serve_http(config) as http:
        client = await joined(http, "one")
        await client.ask(chat_message=message("two"))
        for frame, path in (
            ({"join": {"room_id": "three"}}, "join.room_id: "),
            ({"chat_message": message("three")}, "chat_message.room_id: "),
        ):
            error = (await client.ask(**frame))["error"]
            assert error["code"] == "RESOURCE_EXHAUSTED"
            assert error["message"].startswith(path)
            assert error["retryable"] is False
        assert "joined" in await client.ask(join={"room_id": "two"})
        assert "chat_message" in await client.ask(chat_message=message("one"))
        await client.ask(leave={"room_id": "one"})
        assert "joined" in await client.ask(join={"room_id": "three"})


async def test_refused_room_does_not_count(proxy_config: proxy.Config) -> None:
    config = proxy.Config(upstream=proxy_config.upstream, rooms_per_connection=1)
    async with serve_http(config) as http:
        client = await joined(http, "one")
        await client.ask(leave={"room_id": "one"})
        for _ in range(3):
            for frame in ({"join": {"room_id": ""}}, {"chat_message": message("\x07")}):
                assert (await client.ask(**frame))["error"]["code"] == "INVALID_ARGUMENT"
        assert "joined" in await client.ask(join={"room_id": "one"})


async def test_one_stored_message_makes_member(connect: Connect) -> None:
    client, other = await connect(), await connect()
    texts = ["", "", "first", "", "second", ""]
    for text in texts:
        await client.send(chat_message=message("lobby", text))
        await other.send(chat_message=message("attic", ""))
    answers = await client.take(len(texts))
    assert len([answer for answer in answers if "error" in answer]) == 4
    await other.take(len(texts))
    await other.ask(chat_message=message("lobby", "for members"))
    assert contents(await client.take(1)) == ["for members"]
    await client.ask(chat_message=message("attic", "not refused"))
    assert await other.barrier() == []


async def test_refused_message_keeps_members(connect: Connect) -> None:
    client, other = await connect(), await connect()
    await client.send(chat_message=message("lobby", content=""))
    await client.send(join={"room_id": "lobby"})
    await client.take(2)
    assert "error" in await client.ask(chat_message=message("lobby", content=""))
    await other.ask(chat_message=message("lobby", "for members"))
    assert contents(await client.take(1)) == ["for members"]


async def test_large_burst_leaves_turns_to_others(http: Http, connect: Connect) -> None:
    """The whole burst is read from its socket at once."""
    quick = await connect()
    with closing(await RawWebSocket.connect(http)) as flooding:
        frame = json.dumps({"chat_message": message("lobby", "!", "eve")}).encode()
        await flooding.send_bytes(masked(WSMsgType.TEXT, frame) * 2000)
        await quick.send(chat_message=message("lobby", "me too"), request_id="mine")
        answer = (await quick.take_until_answer("mine"))[-1]
        assert answer["chat_message"]["seq"] < 400
        await flooding.send(request_id="last")
        while "error" not in await flooding.read_json():
            pass


async def test_compression_is_not_negotiated(http: Http) -> None:
    socket = await http.ws_connect("/", compress=15)
    assert socket.compress == 0


async def test_simultaneous_calls_are_all_answered(proxy_config: proxy.Config) -> None:
    async with serve_http(replace(proxy_config, call_seconds=PATIENCE_SECONDS)) as http:
        # More than the streams that one gRPC connection may have open.
        clients = [await connect_to(http) for _ in range(150)]
        await clients[0].ask(chat_message=message("lobby"))
        asked = (client.ask(get_user={"user_id": "ada"}) for client in clients)
        for answer in await asyncio.gather(*asked):
            assert answer["user"]["user"]["id"] == "ada"
