"""Rate limits of a connection, and the end of clients that ignore them."""

import asyncio
import json
import time
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType

import proxy
from chat.core.rules import Limits
from gen.chat import Error, ErrorCode
from hosting.rate_limits import Allowance, Rates
from proxy.clients.actions import Action, Ask, Expel, Refuse, Send
from proxy.clients.session import Session
from proxy.http.routes import WEBSOCKETS
from tests.clock import Clock
from tests.kit.web import RawWebSocket, masked
from tests.proxy.web_client import (
    Client,
    Frame,
    Http,
    connect,
    contents,
    message,
    seqs,
    serve_http,
)
from tests.support import ANY_NUMBER, eventually

FAST: dict[str, Any] = {"sends": 1000.0, "joins": 1000.0, "calls": 1000.0}


def error_of(action: Action) -> Error:
    assert isinstance(action, Refuse | Expel)
    return action.error


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
async def test_excess_of_a_kind_is_refused(
    proxy_config: proxy.Config, kind: str, asked: dict[str, Any], text: str
) -> None:
    # One at once, and the next one after longer than any test takes.
    rates = proxy.Rates(**FAST | {kind: 0.001})
    async with serve_http(replace(proxy_config, rates=rates)) as http:
        client, other = await connect(http), await connect(http)
        answers = []
        for _ in range(2):
            await client.send(**asked, request_id="asked")
            answers.append((await client.take_until_answer("asked"))[-1])
        told = [each.get("error", {}).get("message") == text for each in answers]
        assert told == [False, True]
        refused = answers[-1]["error"]
        assert (refused["code"], refused["retryable"]) == ("RESOURCE_EXHAUSTED", True)
        assert 0 < refused["retry_after_ms"] <= 1_000_000
        # Other kinds go on, for this client and for others.
        rest = {"joins", "sends", "calls"} - {kind}
        if "sends" in rest:
            assert "chat_message" in await client.ask(chat_message=message("attic"))
        if "calls" in rest:
            assert "users" in await client.ask(list_users={})
        assert "error" not in await other.ask(join={"room_id": "lobby"})


async def test_waiting_as_told_is_enough(proxy_config: proxy.Config) -> None:
    async with serve_http(replace(proxy_config, rates=proxy.Rates(sends=1.0))) as http:
        client, began = await connect(http), time.monotonic()
        everything = [str(number) for number in range(13)]
        stored, refused = await say_all(client, everything)
        assert stored[:10] == everything[:10]
        # A slow machine lets more pass: one in each second.
        assert len(refused) >= 13 - 10 - (time.monotonic() - began)
        # No event marks the end of the wait.
        await asyncio.sleep(max(refused.values(), default=0) / 1000)
        assert await say_all(client, list(refused)) == (list(refused), {})


async def say_all(client: Client, texts: list[str]) -> tuple[list[str], dict[str, int]]:
    """Sends messages; returns the stored ones, and the waits told for the others."""
    for text in texts:
        await client.send(chat_message=message("lobby", text, id=text), request_id=text)
    frames = await client.take(len(texts))
    stored = contents(frame for frame in frames if "error" not in frame)
    refused = [frame for frame in frames if "error" in frame]
    return stored, {each["request_id"]: each["error"]["retry_after_ms"] for each in refused}


async def flooded(http: Http) -> list[Frame]:
    """Lists users, in vain, until it is closed for it; returns what was told."""
    client = await connect(http)
    with suppress(aiohttp.ClientConnectionResetError):  # closed meanwhile
        for _ in range(1500):
            await client.send_text(b'{"list_users": {}}')
    frames = await client.take_until_closed()
    assert client.close_code == 4029
    return frames


async def test_close_frame_is_sent_once(proxy_config: proxy.Config) -> None:
    """Browsers take bytes behind a close frame for an error, and show no code."""
    async with serve_http(replace(proxy_config, rates=proxy.Rates(calls=0.1))) as http:
        with closing(await RawWebSocket.connect(http)) as client:
            flood = masked(WSMsgType.TEXT, b'{"list_users": {}}')
            await client.send_bytes(flood * 1500)
            goodbye = (await client.read_to_close())[-1]
            assert goodbye.close_code == 4029
            await client.send_bytes(masked(WSMsgType.CLOSE, goodbye.payload))
            assert await client.read_frame() is None


async def asked(client: Client, times: int) -> list[bool]:
    """Lists users so many times; returns which calls were answered."""
    for _ in range(times):
        await client.send(list_users={})
    return ["users" in frame for frame in await client.take(times)]


class TestAddresses:
    """Limits of an address, over all its connections."""

    async def test_reconnecting_keeps_the_charge(self, proxy_config: proxy.Config) -> None:
        async with serve_http(replace(proxy_config, rates=proxy.Rates(calls=0.001))) as http:
            answered = []
            for _ in range(5):
                client = await connect(http)
                answered += await asked(client, 3)
                await client.socket.close()
                await eventually(lambda: len(http.app[WEBSOCKETS]) == 0)
            assert answered.count(True) == 1

    async def test_simultaneous_connections_share_allowance(
        self, proxy_config: proxy.Config
    ) -> None:
        clients_per_address = replace(ANY_NUMBER, clients_per_address=3)
        rates = proxy.Rates(calls=2.0)
        config = replace(proxy_config, rates=rates, admission=clients_per_address)
        began = time.monotonic()
        async with serve_http(config) as http:
            answered = [sum(await asked(await connect(http), 20)) for _ in range(6)]
        # Each has 20 of its own, and all together 60; a client that asked little goes on.
        assert answered[:3] == [20] * 3
        assert min(answered[3:]) >= 10
        # And a second brings 2 to each, and 6 to all together.
        assert sum(answered[3:]) <= 3 * 10 + (2 + 6) * (time.monotonic() - began)

    async def test_greedy_neighbour_hurts_no_other(self, proxy_config: proxy.Config) -> None:
        admission = replace(ANY_NUMBER, clients_per_address=1)
        config = replace(proxy_config, rates=proxy.Rates(calls=3.0), admission=admission)
        async with serve_http(config) as http:
            greedy, calm = await connect(http), await connect(http)
            assert not all(await asked(greedy, 100))
            assert all(await asked(calm, 5))

    async def test_address_limit_can_be_off(self, proxy_config: proxy.Config) -> None:
        admission = replace(ANY_NUMBER, clients_per_address=0)
        config = replace(proxy_config, rates=proxy.Rates(calls=0.1), admission=admission)
        async with serve_http(config) as http:
            assert [await asked(await connect(http), 1) for _ in range(30)] == [[True]] * 30

    async def test_address_has_its_own_allowance(self, proxy_config: proxy.Config) -> None:
        admission = replace(ANY_NUMBER, clients_per_address=1, trusted_proxies=("127.0.0.1",))
        config = replace(proxy_config, rates=proxy.Rates(calls=2.0), admission=admission)
        async with serve_http(config) as http:

            async def of(address: str) -> int:
                headers = {"X-Forwarded-For": address}
                client = Client(await http.ws_connect("/", headers=headers))
                answered = sum(await asked(client, 20))
                await client.socket.close()
                return answered

            began = time.monotonic()
            assert [await of(f"198.51.100.{number}") for number in range(3)] == [20] * 3
            # A client that asked little goes on; and a second brings 2 to it, and 2 to its address.
            assert await of("198.51.100.1") <= 10 + (2 + 2) * (time.monotonic() - began)

    async def test_flooder_is_closed_and_sooner_the_next_time(
        self, proxy_config: proxy.Config
    ) -> None:
        async with serve_http(replace(proxy_config, rates=proxy.Rates(calls=0.1))) as http:
            other = await connect(http)
            refused = []
            for _ in range(3):
                frames = await flooded(http)
                refused.append(sum("error" in frame for frame in frames))
                await eventually(lambda: len(http.app[WEBSOCKETS]) == 1)
            assert 1001 <= refused[0] < 1500
            assert max(refused[1:]) < 500
            assert "users" in await other.ask(list_users={})

    async def test_rejoining_many_rooms_is_allowed(self, proxy_config: proxy.Config) -> None:
        """A whole office reconnects after an outage, with default limits."""
        defaults = proxy.Config()
        config = replace(proxy_config, rates=defaults.rates, admission=defaults.admission)
        async with serve_http(config) as http:
            for _ in range(3):
                clients = [await connect(http) for _ in range(20)]
                for client in clients:
                    for number in range(50):
                        await client.send(join={"room_id": str(number), "after_seq": 0})
                for client in clients:
                    assert all("joined" in frame for frame in await client.take(50))
                    await client.socket.close()


class TestCost:
    """Expensive requests are charged as more."""

    def session(self, clock: Clock, **rates: float) -> Session:
        allowance = Allowance(Rates(**rates))
        calls = ("get_chat_history", "get_changes", "change_message")
        return Session(1 << 20, 10, calls, allowance=allowance, clock=clock)

    def test_bytes_are_charged_beside_messages(self) -> None:
        large = json.dumps({"chat_message": message("lobby", "x" * 65_000)}).encode()
        session = self.session(Clock(), sends=50.0)
        sent = [type(session.receive(large)) for _ in range(500)]
        assert sent == [Send] * 167 + [Refuse] * 333

    def test_largest_message_is_charged_once(self) -> None:
        """The largest default content, with its envelope and escapes."""
        text = "x\n" * (Limits().content_bytes // 2)
        largest = json.dumps({"chat_message": message("lobby", text)}).encode()
        session = self.session(Clock(), sends=50.0)
        sent = [type(session.receive(largest)) for _ in range(501)]
        assert sent == [Send] * 500 + [Refuse]

    def test_bad_frames_are_charged_by_size(self) -> None:
        """Parsing one may take as long as a hundred messages."""
        nonsense = json.dumps({f"key {number}": 0 for number in range(4000)}).encode()
        session = self.session(Clock(), calls=50.0, sends=50.0)
        told = [error_of(session.receive(nonsense)) for _ in range(20)]
        assert sum(error.code == ErrorCode.INVALID_ARGUMENT for error in told) < 10
        # And a client that goes on regardless is closed sooner.
        kinds = [type(session.receive(nonsense)) for _ in range(30)]
        assert kinds[-1] is Expel

    def test_oversized_frame_is_not_parsed(self) -> None:
        session = self.session(Clock())
        fits = json.dumps({"request_id": "7", "x": ""}).encode()
        assert session.receive(fits).request_id == "7"
        large = json.dumps({"request_id": "7", "x": "y" * (1 << 20)}).encode()
        refused = session.receive(large)
        assert (type(refused), refused.request_id) == (Refuse, None)

    def test_what_no_client_has_to_send_is_charged_by_size(self) -> None:
        """It may take as long to read as a wrong frame."""
        follow = json.dumps({"join": {"room_id": "lobby", "follow": [7] * 20_000}}).encode()
        forged: dict[str, Any] = {"state": {"reactions": [{}] * 20_000}}
        extra = json.dumps({"chat_message": message("lobby", "x", extra=forged)}).encode()
        session = self.session(Clock(), joins=50.0, sends=50.0)
        for frame in (follow, extra):
            told = [session.receive(frame) for _ in range(11)]
            limited = [isinstance(each, Refuse) and each.error.retryable for each in told]
            assert limited.count(False) < 10

    def test_storm_of_reactions_is_limited(self) -> None:
        session = self.session(Clock(), calls=50.0)
        react = b'{"change_message": {"room_id": "lobby", "seq": 1, "react": "+1"}}'
        assert [type(session.receive(react)) for _ in range(501)] == [Ask] * 500 + [Refuse]

    @pytest.mark.parametrize("call", ["get_chat_history", "get_changes"])
    def test_history_is_charged_by_message(self, call: str) -> None:
        clock = Clock()
        session = self.session(clock, history=100.0)
        page = json.dumps({call: {"room_id": "lobby"}, "request_id": "7"}).encode()
        assert isinstance(session.receive(page), Ask)
        session.charge_history(1000)
        assert session.history_wait() == 0
        session.charge_history(500)
        assert session.history_wait() == 5
        refused = session.receive(page)
        assert isinstance(refused, Refuse)
        assert refused.request_id == "7"
        assert refused.error.message == "too much history at once"
        assert refused.error.retry_after_ms == 5000
        clock.now += 5.0
        assert isinstance(session.receive(page), Ask)


async def test_replay_waits_for_its_allowance(proxy_config: proxy.Config) -> None:
    """It is still whole and in order."""
    config = replace(proxy_config, rates=proxy.Rates(history=200.0))
    async with serve_http(config) as http:
        sender, late = await connect(http), await connect(http)
        for number in range(2300):
            await sender.say("lobby", str(number))
        await sender.take(2300)
        began = time.monotonic()
        assert (await late.ask(join={"room_id": "lobby", "after_seq": 0}))["joined"]["recovered"]
        assert seqs(await late.take(2300)) == list(range(1, 2301))
        # Without the burst and the last page.
        assert time.monotonic() - began >= 200 / 200
        answer = await sender.ask(chat_message=message("lobby", "live"))
        assert contents(await late.take(1)) == [answer["chat_message"]["content"]]


async def test_search_is_charged_although_it_finds_nothing(proxy_config: proxy.Config) -> None:
    async with serve_http(replace(proxy_config, rates=proxy.Rates(history=10.0))) as http:
        client = await connect(http)
        for _ in range(10):
            assert "rooms" in await client.ask(list_rooms={})
        for _ in range(2):
            assert "rooms" in await client.ask(list_rooms={"query": "nowhere"})
        refused = (await client.ask(list_rooms={}))["error"]
        assert refused["message"] == "too much history at once"


def test_session_applies_the_rates() -> None:
    clock = Clock()
    session = Session(1000, 10, (), allowance=Allowance(Rates(sends=1.0)), clock=clock)
    frame = b'{"chat_message": {"room_id": "lobby"}}'
    assert [type(session.receive(frame)) for _ in range(10)] == [Send] * 10
    refused = session.receive(frame)
    assert isinstance(refused, Refuse)
    assert refused.error.retry_after_ms == 1000
    clock.now += 1.0
    assert isinstance(session.receive(frame), Send)
    assert isinstance(session.receive(frame), Refuse)
    # Binary frames and nonsense are not counted with the messages.
    assert isinstance(session.receive_binary(), Refuse)
    clock.now += 0.5
    actions = [type(session.receive(frame)) for _ in range(1100)]
    assert set(actions[:900]) == {Refuse}
    assert actions[-1] is Expel


async def test_default_rates_suit_a_page(proxy_config: proxy.Config) -> None:
    config = replace(proxy_config, rates=proxy.Config().rates)
    async with serve_http(config) as http:
        client: Client = await connect(http)
        for number in range(100):
            assert "joined" in await client.ask(join={"room_id": str(number)})
            assert "chat_history" in await client.ask(get_chat_history={"room_id": str(number)})
            assert "chat_message" in await client.ask(chat_message=message(str(number)))
