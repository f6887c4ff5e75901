"""How often one connection may ask, and what becomes of those who ask more often."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType

import proxy
from daemon.buckets import Allowance, Rates
from proxy.session import Expel, Refuse, Send, Session
from tests.proxy.clients import Client, connect, contents, message, serve_http
from tests.proxy.raw import RawClient, masked

FAST: dict[str, Any] = {"sends": 1000.0, "joins": 1000.0, "calls": 1000.0}


def error(frame: dict[str, Any]) -> dict[str, Any]:
    body = frame["error"]
    assert isinstance(body, dict)
    return body


@pytest.mark.parametrize(
    ("kind", "asked", "text"),
    [
        ("sends", {"chat_message": message("lobby")}, "too many messages"),
        ("joins", {"join": {"room_id": "lobby"}}, "too many rooms at once"),
        ("calls", {"get_chat_history": {"room_id": "lobby"}}, "too many requests"),
        ("calls", {"list_users": {}}, "too many requests"),
        ("calls", {"leave": {"room_id": "lobby"}}, "too many requests"),
        ("calls", {"nonsense": True}, "too many requests"),
    ],
)
async def test_too_many_of_a_kind(
    proxy_config: proxy.Config, kind: str, asked: dict[str, Any], text: str
) -> None:
    rates = proxy.Rates(**FAST | {kind: 0.2})
    async with serve_http(replace(proxy_config, rates=rates)) as http:
        client, other = await connect(http), await connect(http)
        answers = []
        for _ in range(3):
            await client.send(**asked, request_id="asked")
            answers.append((await client.take_until_answer("asked"))[-1])
        assert [each.get("error", {}).get("message") == text for each in answers] == [
            False,
            False,
            True,
        ]
        refused = error(answers[-1])
        assert (refused["code"], refused["retryable"]) == ("RESOURCE_EXHAUSTED", True)
        assert 0 < refused["retry_after_ms"] <= 5000
        # What was not too much goes on, for this client and for others.
        rest = {"joins", "sends", "calls"} - {kind}
        if "sends" in rest:
            assert "chat_message" in await client.ask(chat_message=message("attic"))
        if "calls" in rest:
            assert "users" in await client.ask(list_users={})
        assert "error" not in await other.ask(join={"room_id": "lobby"})


async def test_who_waits_as_told_is_let_through(proxy_config: proxy.Config) -> None:
    async with serve_http(replace(proxy_config, rates=proxy.Rates(sends=1.0))) as http:
        client = await connect(http)
        everything = [str(number) for number in range(13)]
        stored, refused = await say_all(client, everything)
        assert stored[:10] == everything[:10]
        assert refused
        # Nothing tells that the time has come but the time.
        await asyncio.sleep(max(refused.values()) / 1000)
        assert await say_all(client, list(refused)) == (list(refused), {})


async def say_all(client: Client, texts: list[str]) -> tuple[list[str], dict[str, int]]:
    """Sends messages; returns which of them were stored, and how long the others are to wait."""
    for text in texts:
        await client.send(chat_message=message("lobby", text, id=text), request_id=text)
    frames = await client.take(len(texts))
    stored = contents(frame for frame in frames if "error" not in frame)
    refused = [frame for frame in frames if "error" in frame]
    return stored, {each["request_id"]: error(each)["retry_after_ms"] for each in refused}


async def test_who_goes_on_regardless_is_closed(proxy_config: proxy.Config) -> None:
    async with serve_http(replace(proxy_config, rates=proxy.Rates(calls=0.1))) as http:
        client, other = await connect(http), await connect(http)
        flood = b'{"list_users": {}}'
        try:
            for _ in range(1500):
                await client.send_text(flood)
        except aiohttp.ClientConnectionResetError:
            pass  # closed meanwhile
        frames = await client.take_until_closed()
        assert client.close_code == 4029
        assert 1001 <= sum("error" in frame for frame in frames) < 1500
        assert "users" in await other.ask(list_users={})


async def test_why_is_said_once(proxy_config: proxy.Config) -> None:
    """What comes behind a goodbye, browsers take for an error, and show no code."""
    async with serve_http(replace(proxy_config, rates=proxy.Rates(calls=0.1))) as http:
        with closing(await RawClient.connect(http)) as client:
            flood = masked(WSMsgType.TEXT, b'{"list_users": {}}')
            await client.send_bytes(flood * 1100)
            goodbye = (await client.read_to_close())[-1]
            assert goodbye.close_code == 4029
            await client.send_bytes(masked(WSMsgType.CLOSE, goodbye.payload))
            assert await client.read_frame() is None


class Clock:
    """A time that is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_session_decides() -> None:
    clock = Clock()
    session = Session(1000, 10, (), allowance=Allowance(Rates(sends=1.0)), clock=clock)
    frame = b'{"chat_message": {"room_id": "lobby"}}'
    assert [type(session.receive(frame)) for _ in range(10)] == [Send] * 10
    refused = session.receive(frame)
    assert isinstance(refused, Refuse)
    assert refused.error.retry_after_ms == 1000
    clock.now = 1.0
    assert isinstance(session.receive(frame), Send)
    assert isinstance(session.receive(frame), Refuse)
    # Binary frames and nonsense are not counted with the messages.
    assert isinstance(session.receive_binary(), Refuse)
    clock.now = 1.5
    actions = [type(session.receive(frame)) for _ in range(1100)]
    assert set(actions[:900]) == {Refuse}
    assert actions[-1] is Expel


async def test_the_limits_are_far_from_what_a_page_does(proxy_config: proxy.Config) -> None:
    config = replace(proxy_config, rates=proxy.Config().rates)
    async with serve_http(config) as http:
        client: Client = await connect(http)
        for number in range(100):
            assert "joined" in await client.ask(join={"room_id": str(number)})
            assert "chat_history" in await client.ask(get_chat_history={"room_id": str(number)})
            assert "chat_message" in await client.ask(chat_message=message(str(number)))
