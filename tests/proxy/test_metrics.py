"""The proxy's metrics, as Prometheus reads them, while clients are active."""

from contextlib import closing
from dataclasses import replace
from math import inf

import aiohttp
import pytest

import chat
import proxy
from proxy.errors import close_label
from proxy.http.routes import STATUS_URL
from tests.kit.web import RawWebSocket
from tests.proxy.web_client import (
    Connect,
    Http,
    RestartableServer,
    connect,
    joined,
    message,
    serve_http,
)
from tests.scraping import Scrape, scrape, scrape_until


@pytest.fixture
def proxy_config(chat_server: chat.RunningServer) -> proxy.Config:
    return proxy.Config(upstream=chat_server.address, mailbox_bytes=100_000, metrics_port=0)


async def told_by(http: Http) -> Scrape:
    """The current metrics of the proxy."""
    return await scrape(http.app[STATUS_URL])


async def test_counts_of_connections_and_rooms(http: Http, connect: Connect) -> None:
    ada, bob = await connect(), await connect()
    for room in ("lobby", "kitchen"):
        await ada.ask(join={"room_id": room})
    await bob.ask(join={"room_id": "lobby"})
    told = await told_by(http)
    assert told("proxy_connections") == told("proxy_connections_opened_total") == 2
    assert told("proxy_rooms") == 2
    assert told("proxy_room_members") == 3
    assert told("proxy_joins_total") == 3
    assert told("proxy_upstream_connected") == 1
    await ada.socket.close()
    await bob.socket.close(code=3123)
    url = http.app[STATUS_URL]
    told = await scrape_until(url, lambda told: told("proxy_connections") == 0)
    assert told("proxy_rooms") == told("proxy_room_members") == 0
    assert told("proxy_connections_opened_total") == 2
    assert told("proxy_connections_closed_total", code="1000") == 1
    # A client may send any number: it is no label.
    assert told("proxy_connections_closed_total", code="other") == 1


def test_close_code_labels_are_bounded() -> None:
    """Any codes of clients map to a bounded number of labels."""
    labels = {close_label(code) for code in range(65536)}
    assert {"1000", "1006", "1014", "4008", "4501", "other"} <= labels
    assert len(labels) < 30


async def refused(session: aiohttp.ClientSession, url: str, **headers: str) -> int:
    """Opens a WebSocket that is refused; returns the status."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as raised:
        await session.ws_connect(url, headers=headers)
    return raised.value.status


async def test_refused_connections_by_cause(proxy_config: proxy.Config) -> None:
    admission = proxy.AdmissionRules(
        connections_per_address=1, handshakes_per_second=0.2, trusted_proxies=("127.0.0.1",)
    )
    config = replace(proxy_config, host="127.0.0.1", port=0, connections=2, admission=admission)
    connector = aiohttp.TCPConnector(force_close=True)
    async with (
        proxy.serve(config) as door,
        aiohttp.ClientSession(connector=connector) as session,
    ):

        async def turned_away() -> dict[str, float]:
            told = await scrape(door.status_url)
            assert told("proxy_connections_limit") == 2
            samples = told.families["proxy_handshakes_refused_total"].samples
            return {sample.labels["reason"]: sample.value for sample in samples}

        expected = dict.fromkeys(("origin", "rate", "address", "full"), 0.0)
        assert await turned_away() == expected
        one, other = {"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "192.0.2.2"}
        assert await refused(session, door.url, **one, Origin="https://evil.example") == 403
        async with session.ws_connect(door.url, headers=one):
            for reason in ("address", "rate"):
                assert await refused(session, door.url, **one) == 429
                expected[reason] += 1
            expected["origin"] = 1
            assert await turned_away() == expected
            async with session.ws_connect(door.url, headers=other):
                assert await refused(session, door.url) == 503
                assert await turned_away() == expected | {"full": 1}


async def test_proxy_without_metrics_port(http: Http) -> None:
    assert (await told_by(http))("proxy_connections_limit") == inf


async def test_messages_in_and_out(http: Http) -> None:
    members = [await joined(http, "lobby") for _ in range(3)]
    for number in range(4):
        await members[0].say("lobby", f"number {number}")
    for member in members:
        await member.take(4)
    told = await told_by(http)
    assert told("proxy_messages_received_total") == 4
    assert told("proxy_messages_arrived_total") == 4
    assert told("proxy_deliveries_total") == 12
    assert told("proxy_delivery_seconds_count") == 4
    assert 0 < told("proxy_delivery_seconds_sum") < 60
    assert told("proxy_unconfirmed_messages") == told("proxy_unconfirmed_bytes") == 0
    # One join and four messages, and their answers; and who is there, which the server wants to
    # know: nobody, and then the sender.
    assert told("proxy_sent_batch_commands_sum") == 7
    assert 1 <= told("proxy_sent_batch_commands_count") <= 7
    assert 4 <= told("proxy_received_batch_events_sum") <= 8


async def test_foreign_messages_have_no_latency(http: Http, proxy_config: proxy.Config) -> None:
    bob = await joined(http, "lobby")
    async with serve_http(replace(proxy_config, metrics_port=None)) as other:
        ada = await connect(other)
        await ada.say("lobby", "from elsewhere")
        await bob.take(1)
    told = await told_by(http)
    assert told("proxy_messages_received_total") == told("proxy_delivery_seconds_count") == 0
    assert told("proxy_messages_arrived_total") == told("proxy_deliveries_total") == 1


async def test_errors_by_code(http: Http, connect: Connect) -> None:
    ada = await connect()
    await ada.send_text(b"no JSON")
    await ada.receive()
    await ada.ask(chat_message=message("lobby", ""))  # refused by the server
    await ada.ask(get_user={"user_id": "nobody"})
    told = await told_by(http)
    assert told("proxy_errors_total", code="INVALID_ARGUMENT") == 2
    assert told("proxy_errors_total", code="NOT_FOUND") == 1
    assert told("proxy_errors_total", code="INTERNAL") == 0
    assert told("proxy_calls_total", call="get_user", status="NOT_FOUND") == 1
    assert told("proxy_connections") == 1


async def test_resumes_by_recovery(http: Http, connect: Connect) -> None:
    ada = await joined(http, "lobby")
    for number in range(3):
        await ada.ask(chat_message=message("lobby", f"number {number}"))
    bob = await connect()
    await bob.ask(join={"room_id": "lobby", "after_seq": 1})
    await bob.take(2)
    await bob.ask(join={"room_id": "lobby", "after_seq": 99})
    await bob.ask(join={"room_id": "lobby", "after_seq": 1, "epoch": "another"})
    told = await told_by(http)
    assert told("proxy_joins_total") == 4
    assert told("proxy_resumes_total", outcome="recovered") == 1
    assert told("proxy_resumes_total", outcome="lost") == 2
    assert told("proxy_replayed_messages_total") == 2
    # One page was replayed, and the server was asked about the position ahead.
    assert told("proxy_calls_total", call="get_chat_history", status="OK") == 2


async def test_slow_consumer_is_counted_once(http: Http) -> None:
    with closing(await RawWebSocket.connect(http)) as stuck:
        await stuck.send(join={"room_id": "lobby"})
        await stuck.read_json()
        ada = await joined(http, "lobby")
        waiting = 0.0
        for _ in range(2000):
            await ada.ask(chat_message=message("lobby", "x" * 16_000))
            told = await told_by(http)
            waiting = max(waiting, told("proxy_client_queue_bytes"))
            if told("proxy_slow_consumers_total"):
                break
        await ada.ask(chat_message=message("lobby", "who is left?"))
        assert (await told_by(http))("proxy_slow_consumers_total") == 1
        assert 0 < waiting < 1_000_000
    told = await scrape_until(
        http.app[STATUS_URL], lambda told: told("proxy_connections_closed_total", code="4008") == 1
    )
    assert told("proxy_slow_consumers_total") == 1
    assert told("proxy_connections") == 1


async def test_server_restart_in_metrics(server: RestartableServer) -> None:
    config = proxy.Config(upstream=server.address, metrics_port=0)
    async with serve_http(config) as http:
        url = http.app[STATUS_URL]
        ada = await joined(http, "lobby")
        await ada.ask(chat_message=message("lobby", "before"))
        await server.stop()
        told = await scrape_until(url, lambda told: told("proxy_upstream_failures_total") >= 1)
        assert told("proxy_upstream_connected") == 0
        assert told("proxy_upstream_reconnects_total") == 0
        await ada.say("lobby", "meanwhile")
        told = await scrape_until(url, lambda told: told("proxy_unconfirmed_messages") == 1)
        assert 0 < told("proxy_unconfirmed_bytes") < told("proxy_unconfirmed_limit_bytes")
        await server.start()
        assert (await ada.receive())["chat_message"]["content"] == "meanwhile"
        told = await scrape(url)
        assert told("proxy_upstream_connected") == 1
        assert told("proxy_upstream_reconnects_total") == 1
        assert told("proxy_room_resumes_total", outcome="recovered") == 1
        assert told("proxy_room_resumes_total", outcome="lost") == 0
        assert told("proxy_unconfirmed_messages") == 0
        assert told("proxy_delivery_seconds_count") == 2
        await server.stop()
        await server.start(database=chat.IN_MEMORY)
        assert (await ada.receive())["joined"]["recovered"] is False
        assert (await scrape(url))("proxy_room_resumes_total", outcome="lost") == 1
