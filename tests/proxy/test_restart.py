"""A restart of the chat server is a pause for WebSocket clients."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from grpclib.client import Channel
from grpclib.const import Cardinality
from structlog.testing import capture_logs

import chat
import codec
import proxy
from gen.chat import (
    ChatServiceStub,
    GetUserRequest,
    GetUserResponse,
    ListUsersRequest,
)
from hosting.addresses import split_address
from tests.faults.link import Link
from tests.proxy.pauses import (
    HOLD_SECONDS,
    check_all_once,
    check_unavailable,
    linked,
    members,
    unready,
)
from tests.proxy.web_client import (
    Http,
    RestartableServer,
    connect,
    contents,
    joined,
    message,
    seqs,
    serve_http,
)


@pytest.fixture
async def http(server: RestartableServer) -> AsyncIterator[Http]:
    async with serve_http(settings(server)) as http:
        yield http


def settings(server: RestartableServer, **changes: Any) -> proxy.Config:
    return proxy.Config(upstream=server.address, **{"hold_seconds": HOLD_SECONDS, **changes})


async def test_held_messages_are_confirmed_later(server: RestartableServer, http: Http) -> None:
    clients = await members(http, 3)
    await server.stop()
    for index, client in enumerate(clients):
        for number in range(10):
            text = f"{index}-{number}"
            await client.send(chat_message=message("lobby", text), request_id=text)
        assert await client.barrier() == []
    await server.start()
    expected = {f"{index}-{number}" for index in range(3) for number in range(10)}
    for index, client in enumerate(clients):
        frames = await client.take(30)
        check_all_once(frames, expected)
        own = [frame["request_id"] for frame in frames if "request_id" in frame]
        assert own == [f"{index}-{number}" for number in range(10)]
        assert await client.barrier() == []


async def test_two_proxies_agree_after_restart(server: RestartableServer, http: Http) -> None:
    async with serve_http(settings(server)) as other:
        here, there = await joined(http, "lobby"), await joined(other, "lobby")
        await server.stop()
        for number in range(20):
            await here.say("lobby", f"here {number}")
            await there.say("lobby", f"there {number}")
        await server.start()
        frames = await here.take(40)
        assert seqs(frames) == list(range(1, 41))
        assert await there.take(40) == frames


async def test_joins_and_calls_during_pause(server: RestartableServer, http: Http) -> None:
    sender = await connect(http)
    for number in range(3):
        await sender.ask(chat_message=message("lobby", str(number)))
    await server.stop()
    await unready(http)
    joiner, asker, leaver = [await connect(http) for _ in range(3)]
    await joiner.send(join={"room_id": "lobby", "after_seq": 1}, request_id="join")
    await asker.send(get_user={"user_id": "ada"}, request_id="ask")
    assert "left" in await leaver.ask(leave={"room_id": "lobby"})
    assert await sender.barrier() == []
    await server.start()
    answer = await joiner.receive()
    assert answer["request_id"] == "join"
    assert answer["joined"]["recovered"] is True
    assert contents(await joiner.take(2)) == ["1", "2"]
    assert (await asker.receive())["user"]["user"]["id"] == "ada"
    await sender.say("lobby", "live")
    assert contents([await joiner.receive()]) == ["live"]


async def test_room_left_during_pause(server: RestartableServer, http: Http) -> None:
    leaver, stayer = await members(http, 2)
    await server.stop()
    await leaver.ask(leave={"room_id": "lobby"})
    await stayer.say("lobby", "hello")
    await server.start()
    assert contents([await stayer.receive()]) == ["hello"]
    assert await leaver.barrier() == []


async def test_stop_that_arrives_in_pieces(server: RestartableServer) -> None:
    # The end of the stream, and of the connection, each in a turn of its own.
    async with (
        Link.to(server.address, piece_bytes=1) as link,
        serve_http(proxy.Config(upstream=link.address, hold_seconds=HOLD_SECONDS)) as http,
    ):
        client = await joined(http, "lobby")
        for number in range(1, 4):
            await server.stop()
            await server.start()
            answer = await client.ask(chat_message=message("lobby"))
            assert seqs([answer]) == [number]


async def test_draining_server_is_not_pestered(server: RestartableServer, http: Http) -> None:
    client = await joined(http, "lobby")
    host, port = split_address(server.address)
    async with Channel(host, port, codec=codec.GrpcCodec()) as channel:
        call = channel.request(
            "/chat.ChatService/GetUser", Cardinality.UNARY_UNARY, GetUserRequest, GetUserResponse
        )
        async with call as open_call:
            # A request that is never sent keeps the draining server waiting.
            await open_call.send_request()
            await ChatServiceStub(channel).list_users(ListUsersRequest())  # behind it
            with capture_logs() as logs:
                await server.stop()
    assert {"event": "calls cut off", "log_level": "warning", "after_seconds": 1.0} in logs
    attempts = [entry for entry in logs if entry["event"] == "upstream connected"]
    assert len(attempts) < 30
    await server.start()
    answer = await client.ask(chat_message=message("lobby"))
    assert seqs([answer]) == [1]


async def test_proxy_may_start_first(chat_config: chat.Config) -> None:
    server = RestartableServer(chat_config)
    async with serve_http(settings(server)) as http:
        client = await connect(http)
        await client.say("lobby", "early")
        assert await client.barrier() == []
        await server.start()
        assert contents([await client.receive()]) == ["early"]
        await server.stop()


async def test_readiness_follows_the_server(server: RestartableServer, http: Http) -> None:
    await linked(await connect(http))
    async with http.get("/readyz") as response:
        assert response.status == 200
    await server.stop()
    await unready(http)
    for path in ("/healthz", "/"):
        async with http.get(path) as response:
            assert response.status == 200
    await server.start()
    await linked(await connect(http))
    async with http.get("/readyz") as response:
        assert response.status == 200


async def test_users_active_again_after_restart(server: RestartableServer, http: Http) -> None:
    client = await connect(http)
    await client.ask(chat_message=message("lobby"))
    await server.stop()
    await server.start()
    answer = await client.ask(get_user={"user_id": "ada"})
    assert answer["user"]["user"]["status"] == "ACTIVE"


# Past the bounds.


async def test_sends_past_hold_time_refused(server: RestartableServer) -> None:
    async with serve_http(settings(server, hold_seconds=0.3, call_seconds=0.3)) as http:
        client = await joined(http, "lobby")
        await server.stop()
        await client.send(chat_message=message("lobby", id="held"), request_id="held")
        answer = await client.receive()
        assert answer["request_id"] == "held"
        check_unavailable(answer)
        for frame in (
            {"chat_message": message("lobby")},
            {"join": {"room_id": "attic"}},
            {"get_user": {"user_id": "ada"}},
        ):
            check_unavailable(await client.ask(**frame))
        await server.start()
        while "error" in await client.ask(list_users={}):
            pass
        answer = await client.ask(chat_message=message("lobby", "again", id="held"))
        assert answer["chat_message"]["content"] == "again"
        assert seqs([answer]) == [1]


async def test_held_bytes_are_bounded(server: RestartableServer) -> None:
    async with serve_http(settings(server, hold_bytes=50_000)) as http:
        client = await joined(http, "lobby")
        await server.stop()
        for number in range(10):
            await client.say("lobby", str(number).ljust(10_000))
        refused = await client.barrier()
        assert 4 <= len(refused) <= 6
        for answer in refused:
            check_unavailable(answer)
        await server.start()
        held = 10 - len(refused)
        assert seqs(await client.take(held)) == list(range(1, held + 1))
        live = await client.ask(chat_message=message("lobby"))
        assert seqs([live]) == [held + 1]


async def test_hold_of_zero_bytes_works(server: RestartableServer) -> None:
    async with serve_http(settings(server, hold_seconds=0.0)) as http:
        client = await connect(http)
        await linked(client)
        assert "joined" in await client.ask(join={"room_id": "lobby"})
        assert "chat_message" in await client.ask(chat_message=message("attic"))
        await server.stop()
        await unready(http)
        check_unavailable(await client.ask(chat_message=message("lobby")))
        check_unavailable(await client.ask(join={"room_id": "cellar"}))


# Another history.


async def test_members_learn_of_new_history(
    server: RestartableServer, http: Http, tmp_path: Path
) -> None:
    """What they said meanwhile enters it."""
    first, second = await members(http, 2)
    await first.ask(chat_message=message("lobby", "old"))
    await second.receive()
    epoch = (await first.ask(join={"room_id": "lobby"}))["joined"]["epoch"]
    await server.stop()
    await second.say("lobby", "held")
    await second.barrier()
    await server.start(database=str(tmp_path / "another.db"))
    for client in (first, second):
        told, held = await client.take(2)
        assert told["joined"].pop("epoch") != epoch
        assert told == {"joined": {"room_id": "lobby", "last_seq": 0, "recovered": False}}
        assert (contents([held]), seqs([held])) == (["held"], [1])
    await first.say("lobby", "new")
    for client in (first, second):
        assert seqs([await client.receive()]) == [2]


async def test_longer_new_history_is_noticed(
    server: RestartableServer, http: Http, tmp_path: Path, chat_config: chat.Config
) -> None:
    config = replace(chat_config, database=str(tmp_path / "another.db"))
    async with (
        RestartableServer.running(config) as another,
        serve_http(settings(another)) as elsewhere,
    ):
        writer = await connect(elsewhere)
        for number in range(5):
            await writer.ask(chat_message=message("lobby", f"other {number}"))
    client = await joined(http, "lobby")
    await client.ask(chat_message=message("lobby", "old"))
    await server.stop()
    await server.start(database=str(tmp_path / "another.db"))
    told = await client.receive()
    assert told["joined"]["last_seq"] == 5
    assert told["joined"]["recovered"] is False
    live = await client.ask(chat_message=message("lobby", "new"))
    assert seqs([live]) == [6]
    history = (await client.ask(get_chat_history={"room_id": "lobby"}))["chat_history"]
    assert history["epoch"] == told["joined"]["epoch"]
    assert len(history["messages"]) == 6
