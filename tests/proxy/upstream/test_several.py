"""Several servers with one history: any of them may die, drain, refuse, or come back."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

import chat
import proxy
from chat.access.authenticator import Authenticator, Certificate
from chat.access.identity import Identity
from chat.errors import Unauthenticated
from proxy.config import UpstreamTls
from proxy.core.suspects import LINKS
from proxy.http.routes import STATUS_URL
from tests.access.certificates import Authority
from tests.chat.broken import BrokenAuthenticator
from tests.faults.link import Link, Way
from tests.proxy.mortal import anything, says
from tests.proxy.nodes import Node, before, nodes
from tests.proxy.pauses import check_all_once, check_unavailable, members, talk
from tests.proxy.web_client import (
    Client,
    Frame,
    Http,
    connect,
    contents,
    joined,
    message,
    seqs,
    serve_http,
)
from tests.scraping import Scrape, scrape, scrape_until
from tests.support import eventually

NOT_USED = "ConnectionError('the server asks for no tokens, and others do')"


class Stranger(Authenticator):
    """Takes no proxy for one."""

    def proxy(
        self,
        authorization: Sequence[str],  # noqa: ARG002 - of the base class
        certificate: Callable[[], Certificate | None],  # noqa: ARG002 - likewise
    ) -> Identity:
        raise Unauthenticated("who are you?")


async def upstream_of(http: Http) -> str:
    """The server that the proxy is linked to, as it says itself; waits for one."""
    while True:
        async with http.get("/readyz") as response:
            if response.status == 200:
                return str((await response.json())["upstream"])


def named(servers: list[Node], address: str) -> tuple[Node, list[Node]]:
    """The server of an address, and the others."""
    [found] = [each for each in servers if each.address == address]
    return found, [each for each in servers if each is not found]


@asynccontextmanager
async def through_links(
    servers: list[Node], **changes: Any
) -> AsyncIterator[tuple[Http, Client, list[Link]]]:
    """A proxy before several servers, a member of "lobby", and the links, that in use first."""
    async with AsyncExitStack() as stack:
        links = [await stack.enter_async_context(Link.to(each.address)) for each in servers]
        upstream = ",".join(each.address for each in links)
        config = before(servers, upstream=upstream, **changes)
        http = await stack.enter_async_context(serve_http(config))
        client = await joined(http, "lobby")
        first = await upstream_of(http)
        links.sort(key=lambda link: link.address != first)
        yield http, client, links


async def check_avoids(bad: str, config: proxy.Config) -> None:
    """Checks that a proxy gets along without a server, wherever chance begins."""
    for _ in range(4):
        async with serve_http(config) as http:
            assert "joined" in await (await connect(http)).ask(join={"room_id": "lobby"})
            assert await upstream_of(http) != bad


@pytest.fixture
async def pair() -> AsyncIterator[list[Node]]:
    async with nodes(2) as servers:
        yield servers


async def test_clients_go_on_at_another_server(pair: list[Node]) -> None:
    """Each dies in turn, under load, and comes back when the other one is gone."""
    async with serve_http(before(pair)) as http:
        [reader], stop = await members(http, 1), asyncio.Event()
        talkers = [
            asyncio.create_task(talk(await connect(http), name, stop)) for name in ("ada", "bob")
        ]
        frames: list[Frame] = []
        for number in range(6):
            current, [other] = named(pair, await upstream_of(http))
            await (current.stop() if number % 2 else current.kill())
            frames += await reader.take(20)
            assert await upstream_of(http) == other.address
            await current.start()
        stop.set()
        sent = {text for texts in await asyncio.gather(*talkers) for text in texts}
        frames += await reader.take(len(sent) - len(frames))
        check_all_once(frames, sent)
        assert await reader.barrier() == []


# A server that does not serve.


async def test_refusing_server_is_left(pair: list[Node]) -> None:
    async with serve_http(before(pair, upstream_heartbeat_seconds=0.5)) as http:
        current, [other] = named(pair, await upstream_of(http))
        client = await joined(http, "lobby")
        current.health.set(False)
        await eventually(lambda: other.connections)
        await eventually(lambda: not current.connections)
        assert await upstream_of(http) == other.address
        assert seqs([await client.ask(chat_message=message("lobby"))]) == [1]
        # Now none serves, and the link stays where it is.
        other.health.set(False)
        assert seqs([await client.ask(chat_message=message("lobby"))]) == [2]
        current.health.set(True)
        await eventually(lambda: not other.connections)
        assert await upstream_of(http) == current.address


async def test_serving_server_is_chosen_first(pair: list[Node]) -> None:
    pair[0].health.set(False)
    await check_avoids(pair[0].address, before(pair))


async def test_refusing_server_is_better_than_none(pair: list[Node]) -> None:
    for each in pair:
        each.health.set(False)
    async with serve_http(before(pair)) as http:
        client = await joined(http, "lobby")
        assert seqs([await client.ask(chat_message=message("lobby"))]) == [1]
        async with http.get("/readyz") as response:
            assert response.status == 503


# Recycling.


async def test_recycled_link_goes_unnoticed(pair: list[Node]) -> None:
    """Messages, joins and calls go on, and nobody is away for a moment."""
    async with serve_http(before(pair, upstream_recycle_seconds=0.2)) as http:
        [reader], stop = await members(http, 1), asyncio.Event()
        talker = asyncio.create_task(talk(await connect(http), "ada", stop))
        asker, frames, first = await connect(http), [], await upstream_of(http)
        while await upstream_of(http) == first:
            frames += await reader.take(1)
            answer = await asker.ask(get_user={"user_id": "ada"})
            assert answer["user"]["user"]["status"] == "ACTIVE"
            assert "joined" in await asker.ask(join={"room_id": "attic"})
        stop.set()
        sent = set(await talker)
        frames += await reader.take(len(sent) - len(frames))
        check_all_once(frames, sent)
        assert await reader.barrier() == []
        left, _ = named(pair, first)
        await eventually(lambda: not left.connections)


async def test_call_under_way_outlives_the_move(pair: list[Node]) -> None:
    async with through_links(pair, upstream_recycle_seconds=0.2) as (_, client, links):
        link, other = links
        # Answered when it has moved, or else the link is given up: by a heartbeat of 10 s.
        link.delay(2.0)
        await client.send(list_users={}, request_id="asked")
        await eventually(lambda: other.accepted)
        assert (await client.receive())["request_id"] == "asked"


# Servers that answer nothing, or no.


async def test_silent_server_is_avoided(pair: list[Node]) -> None:
    async with Link.to(pair[0].address) as mute:
        mute.drop()
        upstream = f"{mute.address},{pair[1].address}"
        config = proxy.Config(upstream=upstream, upstream_heartbeat_seconds=0.4)
        await check_avoids(mute.address, config)


async def test_silence_moves_the_link(pair: list[Node]) -> None:
    async with through_links(pair, upstream_heartbeat_seconds=0.4) as (http, client, links):
        link, other = links
        link.drop()
        assert seqs([await client.ask(chat_message=message("lobby"))]) == [1]
        assert await upstream_of(http) == other.address
        # What it was sent arrives after all, and changes nothing.
        link.restore()
        assert seqs([await client.ask(chat_message=message("lobby"))]) == [2]


async def test_server_that_refuses_every_stream_is_avoided() -> None:
    async with nodes(2, tokens=[Stranger()]) as servers:
        await check_avoids(servers[0].address, before(servers))


async def test_flapping_server_costs_no_message(pair: list[Node]) -> None:
    """One of them ends each link as soon as it hears something."""
    pair[0].mortal.kills = anything
    async with serve_http(before(pair)) as http:
        [client] = await members(http, 1)
        for number in range(1, 6):
            assert seqs([await client.ask(chat_message=message("lobby"))]) == [number]
            pair[1].mortal.cut()
        assert await client.barrier() == []


# The order of a client's messages.


async def test_order_holds_while_both_servers_store(pair: list[Node]) -> None:
    """The old server gets messages, but its answers are lost: they are sent again elsewhere."""
    async with through_links(pair, upstream_heartbeat_seconds=0.4) as (http, sender, links):
        link, other = links
        reader = await joined(http, "lobby")
        for number in range(100):
            await sender.say("lobby", str(number))
        link.halve(Way.BACK)
        for number in range(100, 300):
            await sender.say("lobby", str(number))
        frames = await reader.take(300)
        assert contents(frames) == list(map(str, range(300)))
        assert seqs(frames) == list(range(1, 301))
        assert contents(await sender.take(300)) == contents(frames)
        assert await upstream_of(http) == other.address
        link.restore()


# Commands that servers die of.


async def test_deadly_command_leaves_servers_alive() -> None:
    async with nodes(4) as servers:
        for each in servers:
            each.mortal.kills = says("deadly")
        async with serve_http(before(servers)) as http:
            mallory, other = await connect(http), await joined(http, "lobby")
            await mallory.send(chat_message=message("lair", "deadly", "mallory"), request_id="it")
            sent = [str(number) for number in range(100)]
            for text in sent:
                await other.say("lobby", text)
            answer = await mallory.receive()
            assert (answer["request_id"], answer["error"]["code"]) == ("it", "INTERNAL")
            assert contents(await other.take(100)) == sent
        assert sum(each.mortal.deaths for each in servers) == LINKS
        assert sum(each.mortal.deaths > 0 for each in servers) == 2


async def test_deadly_call_leaves_servers_alive() -> None:
    async with nodes(4) as servers:
        for each in servers:
            each.dies_of_calls = True
        async with serve_http(before(servers)) as http:
            client = await joined(http, "lobby")
            check_unavailable(await client.ask(list_users={}))
            assert seqs([await client.ask(chat_message=message("lobby"))]) == [1]
        assert sum(each.mortal.deaths > 0 for each in servers) == 2


# Servers that do not belong together.


async def test_other_history_is_told_at_each_move() -> None:
    async with nodes(1) as [first], nodes(1) as [second]:
        servers = [first, second]
        async with serve_http(before(servers)) as http:
            client = await joined(http, "lobby")
            await client.ask(chat_message=message("lobby", "hello"))
            epochs = set()
            for _ in range(3):
                current, _ = named(servers, await upstream_of(http))
                await current.kill()
                told = (await client.receive())["joined"]
                assert told["recovered"] is False
                epochs.add(told["epoch"])
                await current.start()
            assert len(epochs) == 2


async def test_server_that_believes_anyone_is_not_used() -> None:
    """Neither is a client dismissed by it, nor a guest let in."""
    tokens = BrokenAuthenticator()
    async with nodes(3, tokens=[tokens, tokens]) as servers:
        lax = servers.pop()
        await lax.kill()
        async with serve_http(before([*servers, lax])) as http:
            client = Client(await http.ws_connect("/", headers={"Authorization": "Bearer ada"}))
            assert "joined" in await client.ask(join={"room_id": "lobby"})
            await lax.start()
            for number in range(1, 5):
                current, _ = named(servers, await upstream_of(http))
                await current.kill()
                assert seqs([await client.ask(chat_message=message("lobby"))]) == [number]
                await current.start()
            with capture_logs() as lines:
                for each in servers:
                    await each.kill()
                await eventually(lambda: NOT_USED in [line.get("reason") for line in lines])
            await servers[0].start()
            assert seqs([await client.ask(chat_message=message("lobby"))]) == [5]


# Names.


async def test_each_address_of_a_name_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As behind a headless service of Kubernetes."""
    loop = asyncio.get_running_loop()
    found, of_system = ["127.0.0.1"], loop.getaddrinfo

    async def getaddrinfo(host: str, port: int, **options: Any) -> list[Any]:
        names = found if host == "chat" else [host]
        return [each for name in names for each in await of_system(name, port, **options)]

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    async with nodes(2, hosts=["127.0.0.1", "127.0.0.2"]) as servers:
        one, two = servers
        port = one.address.rpartition(":")[2]
        async with serve_http(before(servers, upstream=f"chat:{port}")) as http:
            client = await joined(http, "lobby")
            assert (one.connections, two.connections) == (1, 0)
            # A pod is added, and the other one goes.
            found.append("127.0.0.2")
            await one.kill()
            assert seqs([await client.ask(chat_message=message("lobby"))]) == [1]
            assert two.connections == 1


async def test_certificate_is_of_the_name(tmp_path: Path) -> None:
    """Of two servers at the same address, one has a certificate for that address alone."""
    authority = Authority(tmp_path)

    def config(name: str) -> chat.Config:
        trust = chat.Trust(tls=authority.files(name))
        return chat.Config(host="127.0.0.1", port=0, database=chat.IN_MEMORY, trust=trust)

    tls = UpstreamTls(authorities=authority.root)
    async with chat.serve(config("localhost")) as named, chat.serve(config("other")) as addressed:
        upstream = f"localhost:{addressed.port},localhost:{named.port}"
        through_tls = proxy.Config(upstream=upstream, upstream_tls=tls)
        await check_avoids(f"localhost:{addressed.port}", through_tls)


# What an operator sees.


async def test_upstream_in_metrics(pair: list[Node]) -> None:
    config = before(pair, metrics_port=0, upstream_heartbeat_seconds=0.5)
    async with serve_http(config) as http:
        url, first = http.app[STATUS_URL], await upstream_of(http)
        current, [other] = named(pair, first)

        def linked(told: Scrape) -> list[float]:
            return [
                told("proxy_upstream_linked", upstream=each.address) for each in (current, other)
            ]

        told = await scrape(url)
        assert linked(told) == [1, 0]
        assert told("proxy_upstream_reconnects_total") == 0
        async with aiohttp.ClientSession() as session, session.get(f"{url}status.json") as page:
            assert (await page.json())["note"] == f"Linked to {first}"
        current.health.set(False)
        told = await scrape_until(url, lambda told: linked(told) == [0, 1])
        assert told("proxy_upstream_moves_total", reason="not_serving") == 1
        assert told("proxy_upstream_reconnects_total") == 0
        await other.kill()
        told = await scrape_until(url, lambda told: linked(told) == [1, 0])
        assert told("proxy_upstream_reconnects_total") == 1
        await current.kill()
        await scrape_until(url, lambda told: linked(told) == [0, 0])
