"""Tokens across a restart of the server."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

import chat
import proxy
from tests.access.signing import Signer, bearer, eddsa, jwks
from tests.proxy.web_client import Client, RestartableServer, contents, seqs


@pytest.fixture
async def server(guarded_config: chat.Config) -> AsyncIterator[RestartableServer]:
    """A server with keys."""
    async with RestartableServer.running(guarded_config) as server:
        yield server


@pytest.fixture
async def url(server: RestartableServer, trusted_config: proxy.Config) -> AsyncIterator[str]:
    """A proxy in front of it."""
    async with proxy.serve(replace(trusted_config, upstream=server.address)) as running:
        yield running.url


async def connected(session: aiohttp.ClientSession, url: str, token: str | None) -> Client:
    return Client(await session.ws_connect(url, headers=bearer(token)))


async def test_restart_is_only_a_pause(
    server: RestartableServer, url: str, session: aiohttp.ClientSession, signer: Signer
) -> None:
    """Also for what was said by one who is gone by then."""
    ada, eve, bob = [
        await connected(session, url, signer.token(sub=name)) for name in ("ada", "eve", "bob")
    ]
    for client in (ada, eve, bob):
        await client.ask(join={"room_id": "lobby"})
    await server.stop()
    await ada.send(chat_message={"room_id": "lobby", "content": "held"}, request_id="1")
    await ada.barrier()
    await eve.send(chat_message={"room_id": "lobby", "content": "last words"})
    await eve.barrier()
    await eve.socket.close()
    await server.start()
    for client in (ada, bob):
        frames = await client.take(2)
        assert (seqs(frames), contents(frames)) == ([1, 2], ["held", "last words"])
        assert [frame["chat_message"]["sender_id"] for frame in frames] == ["ada", "eve"]
    user = (await bob.ask(get_user={"user_id": "eve"}))["user"]["user"]
    assert user["status"] == "INACTIVE"
    await bob.send(chat_message={"room_id": "lobby", "content": "after"})
    assert (await ada.receive())["chat_message"]["sender_id"] == "bob"


async def test_restart_keeps_active_users(
    server: RestartableServer, url: str, session: aiohttp.ClientSession, signer: Signer
) -> None:
    """The proxy reports presence after a restart; a refused message adds no user."""
    bob = await connected(session, url, signer.token(sub="bob"))
    await bob.ask(upsert_user={"user_id": "bob", "name": "Bob"})
    await bob.socket.close()
    mallory = await connected(session, url, signer.token(sub="mallory"))
    forged = {"room_id": "lobby", "sender_id": "bob", "content": "hello"}
    assert "error" in await mallory.ask(chat_message=forged)
    await server.stop()
    await server.start()
    assert "joined" in await mallory.ask(join={"room_id": "attic"})
    user = (await mallory.ask(get_user={"user_id": "bob"}))["user"]["user"]
    assert user["status"] == "INACTIVE"


async def test_restart_dismisses_unknown_tokens(
    server: RestartableServer, url: str, session: aiohttp.ClientSession,
    signer: Signer, keys: Path, trusted_config: proxy.Config,
) -> None:  # fmt: skip
    ada = await connected(session, url, signer.token())
    await ada.ask(join={"room_id": "lobby"})
    await server.stop()
    following = eddsa()
    proxy_token = following.token(sub="edge", role="proxy")
    await asyncio.to_thread(keys.write_text, jwks(following.named("two")))
    await asyncio.to_thread(Path(trusted_config.upstream_token_file).write_text, proxy_token)
    await server.start()
    assert await ada.closed() == 4501
    bob = await connected(session, url, following.token(sub="bob"))
    assert "joined" in await bob.ask(join={"room_id": "lobby"})


async def test_restart_with_keys_dismisses_guests(
    chat_config: chat.Config, guarded_config: chat.Config, trusted_config: proxy.Config,
    session: aiohttp.ClientSession, signer: Signer,
) -> None:  # fmt: skip
    async with (
        RestartableServer.running(chat_config) as server,
        proxy.serve(replace(trusted_config, upstream=server.address)) as running,
    ):
        guest = await connected(session, running.url, None)
        await guest.ask(join={"room_id": "lobby"})
        await server.stop()
        await server.start(trust=guarded_config.trust)
        assert await guest.closed() == 4501
        ada = await connected(session, running.url, signer.token())
        assert "joined" in await ada.ask(join={"room_id": "lobby"})


async def test_early_guest_may_not_stay(
    guarded_config: chat.Config, trusted_config: proxy.Config, signer: Signer,
    session: aiohttp.ClientSession, unused_tcp_port: int,
) -> None:  # fmt: skip
    """It is silent, or waits for an answer, when the first link comes up; it hears nothing."""
    config = replace(trusted_config, upstream=f"127.0.0.1:{unused_tcp_port}")
    async with proxy.serve(config) as running:
        guests = [await connected(session, running.url, None) for _ in range(4)]
        idle, calls, sends, joins = guests
        await idle.barrier()
        await calls.send(list_users={}, request_id="1")
        await sends.send(chat_message={"room_id": "a", "content": "hello", "sender_id": "ada"})
        await joins.send(join={"room_id": "a"}, request_id="1")
        await sends.barrier()
        async with chat.serve(replace(guarded_config, port=unused_tcp_port)):
            for guest in guests:
                assert await guest.take_until_closed() == []
                assert guest.close_code == 4501
            ada = await connected(session, running.url, signer.token())
            assert (await ada.ask(join={"room_id": "a"}))["joined"]["last_seq"] == 0


async def test_token_needs_a_server(
    trusted_config: proxy.Config, session: aiohttp.ClientSession, unused_tcp_port: int
) -> None:
    config = replace(trusted_config, hold_seconds=0.1, call_seconds=0.1)
    async with proxy.serve(replace(config, upstream=f"127.0.0.1:{unused_tcp_port}")) as running:
        ada = await connected(session, running.url, "whatever")
        assert await ada.closed() == 4014


async def test_unknown_proxy_is_not_ready(
    server: RestartableServer, session: aiohttp.ClientSession
) -> None:
    config = proxy.Config(host="127.0.0.1", port=0, upstream=server.address)
    async with proxy.serve(config) as running, session.get(f"{running.url}readyz") as response:
        assert response.status == 503


async def test_refused_proxy_stops_at_any_moment(server: RestartableServer) -> None:
    config = proxy.Config(host="127.0.0.1", port=0, upstream=server.address)
    for turns in range(150):
        async with proxy.serve(config):
            for _ in range(turns):
                await asyncio.sleep(0)
