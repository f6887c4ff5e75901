"""A message that ends links, or cannot be handled, costs its client alone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

import codec
import proxy
from gen.chat import (
    Admit,
    Authenticate,
    ChatMessage,
    Error,
    Joined,
    Presence,
    RelayEvent,
    RelayResponse,
    Stored,
)
from proxy.core import frames
from proxy.core.outbox import Outbox
from proxy.core.suspects import LINKS
from proxy.core.switchboard import Switchboard
from proxy.upstream.link import Link
from tests.access.signing import bearer
from tests.chat.broken import BrokenAuthenticator
from tests.kit.web import split_frames
from tests.proxy.mortal import MortalServer, anything, carries, joins, nothing, says
from tests.proxy.nodes import before, nodes
from tests.proxy.pauses import check_all_once, check_unavailable
from tests.proxy.relay_model import DirectOutbox, Follower, Recorder
from tests.proxy.web_client import Client, Frame, Http, message, seqs, serve_http
from tests.support import eventually, told

DEADLY = "deadly"
TALKERS = ("ada", "bob", "eve")
# For each of them.
MESSAGES = 40

Attack = Callable[[MortalServer, Http], Awaitable[None]]


@asynccontextmanager
async def pair(
    *, tokens: bool = False, **settings: Any
) -> AsyncIterator[tuple[MortalServer, Http]]:
    """A mortal server, and a proxy in front of it."""
    async with (
        nodes(1, tokens=[BrokenAuthenticator()] * tokens) as [node],
        serve_http(before([node], **settings)) as http,
    ):
        yield node.mortal, http


async def visitor(server: MortalServer, http: Http, name: str = "ada") -> Client:
    """A client; with a token, where the server requires one."""
    headers = bearer(name if server.asks_for_tokens else None)
    return Client(await http.ws_connect("/", headers=headers))


async def entered(server: MortalServer, http: Http, name: str, room_id: str) -> Client:
    client = await visitor(server, http, name)
    assert "joined" in await client.ask(join={"room_id": room_id})
    return client


def check_internal(answer: Frame) -> None:
    assert answer["error"]["code"] == "INTERNAL"
    assert answer["error"]["message"] == "internal error"


@asynccontextmanager
async def bystanders(server: MortalServer, http: Http) -> AsyncIterator[None]:
    """Other clients that talk meanwhile; at the end each has got everything once, in order."""
    clients = {name: await entered(server, http, name, "lobby") for name in TALKERS}

    async def talk(name: str, client: Client) -> list[Frame]:
        heard: list[Frame] = []
        for number in range(MESSAGES):
            await client.say("lobby", f"{name} {number}", sender_id=name)
            heard += await client.take_until_content(f"{name} {number}")
        return heard + await client.take(len(TALKERS) * MESSAGES - len(heard))

    talking = [asyncio.create_task(talk(name, client)) for name, client in clients.items()]
    yield
    expected = {f"{name} {number}" for name in TALKERS for number in range(MESSAGES)}
    for heard in await asyncio.gather(*talking):
        check_all_once(heard, expected)


async def send_it(server: MortalServer, http: Http) -> None:
    server.kills = says(DEADLY)
    client = await visitor(server, http, "mallory")
    check_internal(await client.ask(chat_message=message("lair", DEADLY, "mallory")))
    assert seqs([await client.ask(chat_message=message("lair", "hello", "mallory"))]) == [1]


async def join_it(server: MortalServer, http: Http) -> None:
    server.kills = joins(DEADLY)
    client = await visitor(server, http, "mallory")
    check_internal(await client.ask(join={"room_id": DEADLY}))
    assert "joined" in await client.ask(join={"room_id": "lair"})


async def present_it(server: MortalServer, http: Http) -> None:
    server.kills = carries(Authenticate(DEADLY))
    client = await visitor(server, http, DEADLY)
    assert await client.closed() == 4501


async def ask_it(server: MortalServer, http: Http) -> None:
    server.kills = carries(Admit(DEADLY))
    client = await visitor(server, http, "mallory")
    check_internal(await client.ask(join={"room_id": DEADLY}))
    assert "joined" in await client.ask(join={"room_id": "lair"})


async def present_it_again(server: MortalServer, http: Http) -> None:
    client = await entered(server, http, DEADLY, "lair")
    server.kills = carries(Authenticate(DEADLY))
    server.cut()
    assert await client.closed() == 4501


async def stay_in_it(server: MortalServer, http: Http) -> None:
    client = await entered(server, http, "mallory", DEADLY)
    server.kills = joins(DEADLY, 0)
    server.cut()
    assert await client.receive() == {"left": {"room_id": DEADLY}}


@pytest.mark.parametrize(
    ("attack", "tokens"),
    [
        (send_it, False),
        (send_it, True),
        (join_it, False),
        (stay_in_it, False),
        (present_it, True),
        (present_it_again, True),
        (ask_it, True),
    ],
)
async def test_deadly_command_is_given_up(attack: Attack, tokens: bool) -> None:
    async with pair(tokens=tokens) as (server, http):
        with capture_logs() as lines:
            async with bystanders(server, http):
                await attack(server, http)
        assert server.deaths == LINKS
        assert len([line for line in lines if line["log_level"] == "error"]) == 1


async def test_presence_is_told_after_recovery() -> None:
    async with pair() as (server, http), bystanders(server, http):
        client = await visitor(server, http)
        for name in ("silent", DEADLY):
            await client.ask(chat_message=message("lair", sender_id=name))
        server.kills = carries(Presence(DEADLY, active=True))
        server.cut()
        assert seqs([await client.ask(chat_message=message("lair"))]) == [3]
        assert server.deaths
        server.kills = nothing

        async def is_active() -> bool:
            answer = await client.ask(get_user={"user_id": "silent"})
            return bool(answer["user"]["user"]["status"] == "ACTIVE")

        await eventually(is_active)


async def test_orderly_goodbyes_cost_no_client() -> None:
    async with pair() as (server, http), bystanders(server, http):
        client = await visitor(server, http)
        server.ignores = server.ends = says("held")
        await client.send(chat_message=message("lair", "held"), request_id="held")
        while server.links < 2 * LINKS:
            await server.linked.wait()
            server.linked.clear()
        server.ends = server.ignores = nothing
        assert "chat_message" in await client.receive()


async def test_short_links_back_off() -> None:
    """The hold time counts over all of them."""
    async with pair(hold_seconds=1.5) as (server, http):
        client = await entered(server, http, "ada", "lair")
        # The server answers something on each link, and ends it.
        server.ends, server.ignores = anything, says("held")
        await client.send(chat_message=message("lair", "held"), request_id="held")
        check_unavailable(await client.receive())
        assert 2 <= server.links < 50


async def test_unencodable_message_spares_the_others() -> None:
    async with nodes(1) as [node]:
        config = proxy.Config(upstream=node.address)
        switchboard = Switchboard(config, Outbox())
        link = Link(config, switchboard)
        running = asyncio.create_task(link.run())
        await eventually(lambda: link.linked)
        client = Follower()
        with capture_logs() as lines:
            for number in range(100):
                sender_id = "\ud800" if number == 30 else "ada"
                sent = ChatMessage(
                    id=str(number), room_id="lobby", sender_id=sender_id, content="hello"
                )
                switchboard.send(client, sent, str(number))
            await eventually(lambda: len(client.answers) == 100)
        assert set(client.answers.values()) == {1}
        assert client.got.keys() == {str(number) for number in range(100) if number != 30}
        assert sorted(client.got.values()) == list(range(1, 100))
        assert node.mortal.links == 1
        assert [line["event"] for line in told(lines) if line["log_level"] == "error"] == [
            "command not encoded"
        ]
        running.cancel()
        await asyncio.wait({running})


class Deaf(Recorder):
    """Raises when it is dismissed."""

    def dismiss(self, error: Error) -> None:
        raise RuntimeError(error.message)


def batch(*events: RelayEvent) -> RelayResponse:
    """Decodes encoded events, then spoils one text so that it cannot be encoded."""
    made = codec.decode(RelayResponse, codec.encode(RelayResponse(events=list(events))))
    for event in made.events:
        message = event.event
        if isinstance(message, ChatMessage) and message.content == "spoilt":
            message.content = "\ud800"
    return made


async def test_failed_event_costs_one_message() -> None:
    switchboard = Switchboard(proxy.Config(), Outbox())
    sender, member, other = Recorder(), Recorder(), Recorder()
    switchboard.connected()
    refs = {}
    for room_id, client in (("spoiled", sender), ("spoiled", member), ("lobby", other)):
        with switchboard.rooms.pinned(room_id) as room:
            switchboard.rooms.add_member(client, room)
            refs[room_id] = room.join_ref
    switchboard.receive(
        batch(*(RelayEvent(ref, joined=Joined(room, "e", 0)) for room, ref in refs.items()))
    )
    own = ChatMessage(id="own", room_id="spoiled", sender_id="ada", content="hello")
    switchboard.send(sender, own, "mine")
    own.content = "\ud800"
    [send] = switchboard.sends

    def of(room_id: str, seq: int, content: str = "hello") -> RelayEvent:
        said = ChatMessage(id=f"{seq}", room_id=room_id, content=content, seq=seq)
        return RelayEvent(chat_message=said)

    with capture_logs() as lines:
        switchboard.receive(
            batch(
                of("spoiled", 1),
                of("lobby", 1),
                RelayEvent(stored=Stored(refs=[send.ref], seqs=[2])),
                of("lobby", 2),
                of("spoiled", 3),
                of("spoiled", 4, "spoilt"),
                of("lobby", 3),
            )
        )
    assert seqs(other.take()) == [1, 2, 3]
    lost = {"room_id": "spoiled", "epoch": "e", "recovered": False}
    told_sender, told_member = sender.take(), member.take()
    for told_to in (told_sender, told_member):
        heard = [frame for frame in told_to if "error" not in frame]
        assert [frame.get("joined") or seqs([frame]) for frame in heard] == [
            [1],
            {**lost, "last_seq": 2},
            [3],
            {**lost, "last_seq": 4},
        ]
    assert not [frame for frame in told_member if "error" in frame]
    [refused] = [frame for frame in told_sender if "error" in frame]
    assert refused["request_id"] == "mine"
    check_internal(refused)
    assert not [*switchboard.sends]
    assert {line["event"] for line in lines if line["log_level"] == "error"} == {
        "message not delivered"
    }


async def test_repeated_join_answer_is_accepted() -> None:
    asked: list[Any] = []
    outbox = DirectOutbox(lambda item, _: asked.append(item))
    switchboard = Switchboard(proxy.Config(), outbox)
    member = Recorder()
    switchboard.connected()
    with switchboard.rooms.pinned("lobby") as room:
        switchboard.rooms.add_member(member, room)
        ref = room.join_ref
    for last_seq, recovered in ((1, True), (5, False)):
        joined = Joined("lobby", "e", last_seq, recovered)
        switchboard.receive(batch(RelayEvent(ref, joined=joined)))
    assert [frame["joined"]["last_seq"] for frame in member.take()] == [5]
    switchboard.receive(batch(RelayEvent(ref, error=Error(message="unreadable", retryable=True))))
    await eventually(lambda: len(asked) == 2)
    assert asked[1].join.after_seq == 5


async def test_failed_dismissal_spares_the_others() -> None:
    switchboard = Switchboard(proxy.Config(), Outbox())
    guests = [Deaf(), Recorder()]
    dismissed: list[Client] = []
    guests[1].dismiss = dismissed.append  # type: ignore[method-assign, assignment]
    switchboard.guests |= set(guests)
    with capture_logs() as lines:
        switchboard.connected(tokens_required=True)
    assert len(dismissed) == 1
    assert len(told(lines)) == 1


def test_long_close_reason_is_cut() -> None:
    [frame] = split_frames(frames.close_frame(4501, "ä" * 100))
    assert frame.payload[2:] == "ä".encode() * 61
