"""Who is in rooms and who types there, before real servers and behind real proxies."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest

import chat
import proxy
from chat.access.authenticator import Authenticator
from chat.api.context import Context
from chat.core.hub import Hub
from chat.core.paces import Paces as ServerPaces
from chat.storage.listener import Listener
from chat.storage.sqlite import SqliteStore
from proxy.core.outlet import Paces
from proxy.http.routes import STATUS_URL
from tests.chat.in_memory import in_memory
from tests.chat.served import listening
from tests.kit.web import RawWebSocket
from tests.proxy.nodes import Node, before, nodes
from tests.proxy.web_client import (
    Client,
    Connect,
    Frame,
    Http,
    connect,
    message,
    serve_http,
)
from tests.scraping import scrape
from tests.support import NO_RATES

PEOPLE = ["TYPING", "PRESENCE"]
SHORT = 0.3
PACE = 0.05
PACES = Paces(server=PACE, followers=PACE, gone=SHORT, late=PACE, hold=SHORT)
SERVER_PACES = ServerPaces(presence=PACE, linger=SHORT, typing=PACE, hold=SHORT)


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """A server before which little time passes."""
    async with nodes(1, paces=SERVER_PACES) as [node]:
        yield node


async def enter(http: Http, user_id: str, room_id: str = "lobby") -> Client:
    """Opens a WebSocket that has joined a room for a user, and follows people."""
    client = await connect(http)
    joined = await client.ask(join={"room_id": room_id, "follow": PEOPLE, "user_id": user_id})
    assert "joined" in joined, joined
    return client


def is_here(*names: str) -> Frame:
    return {"room_presence": {"room_id": "lobby", "count": len(names), "user_ids": list(names)}}


async def take_until_here(client: Client, *names: str) -> list[Frame]:
    """Returns the next frames, the last of which says that these are here."""
    return await client.take_until(is_here(*names).__eq__)


def typists(frame: Frame) -> list[str] | None:
    """Returns who types, if a frame says that."""
    found: list[str] | None = frame.get("typists", {}).get("user_ids")
    return found


async def test_people_of_other_proxies_are_shown_until_they_go(node: Node) -> None:
    """Nobody types for ever, and nobody who left is here for long: its proxy was killed."""
    config = before([node], drain_seconds=0.0)
    async with serve_http(config, PACES) as one, AsyncExitStack() as stack:
        other = await stack.enter_async_context(serve_http(config, PACES))
        ada, ben = await enter(one, "ada"), await enter(other, "ben")
        assert await ada.receive() == is_here("ada")
        await take_until_here(ada, "ada", "ben")
        await take_until_here(ben, "ada", "ben")
        sender = await connect(other)
        await sender.ask(chat_message=message("lobby", "hello", "eve"))
        told = await take_until_here(ada, "ada", "ben", "eve")
        assert [frame for frame in told if "chat_message" in frame]
        # The second one comes too soon, and is dropped without a word.
        await ben.send(typing={"room_id": "lobby", "user_id": "ben"})
        await ben.send(typing={"room_id": "lobby", "user_id": "zoe"})
        told = await ada.take_until(lambda frame: typists(frame) == ["ben"])
        assert told[-1]["typists"]["hold_ms"] == SHORT * 1000
        await ada.take_until(lambda frame: typists(frame) == [])
        await ben.send(typing={"room_id": "lobby", "user_id": "ben"})
        await stack.aclose()
        told = await take_until_here(ada, "ada")
        assert not any("zoe" in (typists(frame) or ()) for frame in told)
        answer = await ada.ask(list_members={"room_id": "lobby", "present": True})
        assert answer["members"]["members"] == [{"user_id": "ada", "present": True}]


async def test_nobody_seems_to_go_while_the_server_restarts(node: Node) -> None:
    config, paces = before([node]), replace(PACES, keep=0.6)
    async with serve_http(config, paces) as one, serve_http(config, paces) as other:
        ben, eve = await enter(other, "ben"), await enter(one, "eve")
        ada = await enter(one, "ada")
        for client in (ada, ben):
            await take_until_here(client, "ada", "ben", "eve")
        # It forgets everything.
        await node.kill()
        node.mortal.hub = (await in_memory(paces=SERVER_PACES)).hub
        # Whoever goes meanwhile is gone a while after it is back.
        await eve.socket.close()
        await node.start()
        for client in (ada, ben):
            told = await take_until_here(client, "ada", "ben")
            shown = [frame["room_presence"] for frame in told if "room_presence" in frame]
            assert all({"ada", "ben"} <= set(each["user_ids"]) for each in shown)


async def test_nothing_of_it_is_written(tmp_path: Path) -> None:
    """Whoever comes, types and goes leaves no byte in the database."""

    async def open_store(listener: Listener) -> SqliteStore:
        return await SqliteStore.open(str(tmp_path / "chat.db"), listener, 1 << 20)

    def written() -> dict[str, bytes]:
        files = (each for each in tmp_path.iterdir() if not each.name.endswith("-shm"))
        return {each.name: each.read_bytes() for each in files}

    hub = await Hub.open(open_store, paces=SERVER_PACES)
    context = Context.of(chat.Config(rates=NO_RATES), Authenticator(), hub)
    async with listening(context) as port:
        config = proxy.Config(upstream=f"127.0.0.1:{port}")
        async with serve_http(config, PACES) as http:
            ada = await enter(http, "ada")
            before = written()
            ben = await enter(http, "ben")
            await take_until_here(ada, "ada", "ben")
            await ben.send(typing={"room_id": "lobby", "user_id": "ben"})
            await ada.take_until(lambda frame: typists(frame) == ["ben"])
            await ben.socket.close()
            await take_until_here(ada, "ada")
            assert written() == before
            await ada.say("lobby", "hello")
            await ada.take_until_content("hello")
            assert written() != before


async def test_wrong_typing_is_refused(connect: Connect) -> None:
    client = await connect()
    await client.ask(join={"room_id": "lobby"})
    wrong, elsewhere = "INVALID_ARGUMENT", "FAILED_PRECONDITION"
    for room_id, user_id, code, text in (
        ("", "ada", wrong, "room_id: must not be empty"),
        ("attic", "ada", elsewhere, "room_id: is not joined"),
        ("lobby", "", wrong, "user_id: must not be empty"),
        ("lobby", "a\n", wrong, "user_id: must not contain control characters"),
        ("lobby", "a" * 1025, wrong, "user_id: must have at most 1024 characters"),
    ):
        error = (await client.ask(typing={"room_id": room_id, "user_id": user_id}))["error"]
        assert (error["code"], error["message"]) == (code, f"typing.{text}")
    answer = await client.ask(join={"room_id": "attic", "user_id": "a\u2028"})
    assert answer["error"]["message"] == "join.user_id: must not contain control characters"
    # A name that only the server finds too long harms nobody's.
    first, last = await connect(), await connect()
    for each, user_id in ((first, "a" * 100), (last, "ada")):
        join = {"room_id": "attic", "follow": ["PRESENCE"], "user_id": user_id}
        assert "joined" in await each.ask(join=join)
    told = await last.take_until(lambda frame: "ada" in frame["room_presence"]["user_ids"])
    assert told[-1]["room_presence"]["room_id"] == "attic"


async def test_calls_about_rooms_name_their_fields(connect: Connect) -> None:
    client = await connect()
    for frame, path in (
        ({"list_rooms": {"page_size": -1}}, "list_rooms.page_size"),
        ({"set_room": {"room": {"id": ""}}}, "set_room.room.id"),
        ({"list_members": {"room_id": ""}}, "list_members.room_id"),
        ({"list_users": {"user_ids": ["ada", "ada"]}}, "list_users.user_ids"),
    ):
        error = (await client.ask(**frame))["error"]
        assert error["code"] == "INVALID_ARGUMENT"
        assert error["message"].startswith(path), error


async def test_slow_client_is_not_closed_for_news(chat_server: chat.RunningServer) -> None:
    """It is left out while half of what may wait for it does."""
    config = proxy.Config(
        upstream=chat_server.address, mailbox_bytes=400_000, rates=NO_RATES, metrics_port=0
    )
    batch = [message("lobby", "x" * 16_000, "slow") for _ in range(16)]
    async with serve_http(config, PACES) as http:
        with closing(await RawWebSocket.connect(http)) as slow:
            await slow.send(join={"room_id": "lobby", "follow": PEOPLE, "user_id": "slow"})
            assert "joined" in await slow.read_json()
            quick, sender = await enter(http, "quick"), await connect(http)
            queued = 0.0
            while queued < 200_000:
                for each in batch:
                    await sender.send(chat_message=each)
                await sender.take(len(batch))
                queued = (await scrape(http.app[STATUS_URL]))("proxy_client_queue_bytes")
            await quick.send(typing={"room_id": "lobby", "user_id": "quick"})
            await quick.take_until(lambda frame: typists(frame) == ["quick"])
            told = await scrape(http.app[STATUS_URL])
            assert told("proxy_people_skipped_total", kind="typists") == 1
            assert told("proxy_slow_consumers_total") == 0
            assert told("proxy_typing_total") == 1
            # It has lost nothing else.
            while (await slow.read_json()).get("chat_message", {}).get("seq", 0) < 2:
                pass


async def test_rooms_of_a_list_are_paid_for(chat_server: chat.RunningServer) -> None:
    """Each has its newest message."""
    rates = replace(NO_RATES, history=0.2)
    async with serve_http(proxy.Config(upstream=chat_server.address, rates=rates)) as http:
        client = await connect(http)
        for room_id in ("attic", "lobby", "park"):
            await client.ask(set_room={"room": {"id": room_id, "title": "room"}})
        assert len((await client.ask(list_rooms={}))["rooms"]["rooms"]) == 3
        error = (await client.ask(list_rooms={}))["error"]
        assert (error["code"], error["message"]) == (
            "RESOURCE_EXHAUSTED",
            "too much history at once",
        )
