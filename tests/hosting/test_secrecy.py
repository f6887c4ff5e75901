"""Message contents and tokens are in no log line of either process."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import apsw
import pytest
from betterproto import which_one_of
from grpclib import GRPCError
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.encoding.base import CodecBase

import codec
from gen.chat import Authenticate, ChatMessage, ChatServiceStub, ChatStream, GetChatHistoryRequest
from hosting.addresses import split_address
from tests.access.signing import Signer, bearer, eddsa, hs256, jwks
from tests.kit.processes import Daemon, both_logged
from tests.proxy.web_client import Client, visitor
from tests.support import ChatCall

MARKER: Final = "Zx9markerQw7"
OTHER_KEY: Final = b"a key that the server does not know"
DEBUG: Final = ("--log-level", "debug")


class Raw(CodecBase):
    """Sends any bytes."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:  # noqa: ARG002 - as grpclib calls it
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> Any:  # noqa: ARG002
        return data


class World:
    """Both processes, and the tokens used with them.

    Args:
        server: the chat server.
        door: the proxy.
        token: a valid one.
    """

    def __init__(self, server: Daemon, door: Daemon, token: str) -> None:
        self.server = server
        self.door = door
        self.token = token
        self.bad_tokens = [
            MARKER,
            f"{MARKER}.{MARKER}.{MARKER}",
            hs256(OTHER_KEY).token(sub=MARKER),
            token[:-8] + MARKER[:8],
        ]

    def channel(self) -> Channel:
        """A channel to the server."""
        return Channel(*split_address(self.server.address), codec=codec.GrpcCodec())

    def websocket(self, token: str) -> AbstractAsyncContextManager[Client]:
        """A WebSocket with a token."""
        return visitor(self.door.address, headers=bearer(token))


def message(room_id: str, **more: str) -> dict[str, Any]:
    return {"room_id": room_id, "sender_id": "ada", "content": MARKER, **more}


@asynccontextmanager
async def world(
    folder: Path, signer: Signer, proxy_token: str, token: str, form: str
) -> AsyncIterator[World]:
    database = {"CHAT_DATABASE": str(folder / "chat.db")}
    keys, own = folder / "keys.jwks", folder / "proxy.token"
    keys.write_text(jwks(signer.named("one")))
    own.write_text(proxy_token)
    trust = {"CHAT_TOKEN_KEYS": str(keys), "PROXY_UPSTREAM_TOKEN_FILE": str(own)}
    options = ("--log-format", form, *DEBUG)
    async with both_logged(folder, *options, **database, **trust) as (server, door):
        yield World(server, door, token)


async def refused_frames(client: Client) -> None:
    """Invalid frames; each is answered by an error."""
    frames: list[Any] = [
        {MARKER: MARKER},
        {"chat_message": {**message("room"), MARKER: 1}},
        {"chat_message": message(MARKER * 10)},
        {"chat_message": message("room", content=MARKER * 2000)},
        {"chat_message": message("room", content=MARKER + "\0")},
        {"chat_message": message("closed")},
        {"get_user": {"user_id": MARKER * 10}},
        {"authenticate": {"token": MARKER}},
        [MARKER],
        MARKER,
    ]
    for frame in frames:
        await client.send_text(json.dumps(frame).encode())
        assert "error" in await client.receive(), frame
    await client.send_text(f'{{"chat_message": {{"content": "{MARKER}'.encode())
    assert "error" in await client.receive()
    await client.send_text(MARKER.encode() + b"\xff")
    assert "error" in await client.receive()


async def storm_at_the_door(world: World) -> None:
    async with world.websocket(world.token) as client:
        answer = await client.ask(chat_message=message("room"))
        assert answer["chat_message"]["content"] == MARKER
        history = await client.ask(get_chat_history={"room_id": "room"})
        assert history["chat_history"]["messages"][0]["content"] == MARKER
        await refused_frames(client)
        assert "authenticated" in await client.ask(authenticate={"token": world.token})
    for token in world.bad_tokens:
        async with world.websocket(token) as client:
            assert await client.closed() == 4501
    split = urlsplit(world.door.address)
    for request in (
        f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: {MARKER}\r\nbad header {MARKER}\r\n\r\n",
        f"GET /?token={MARKER} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nCookie: {MARKER}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nAuthorization: {MARKER}\r\n\r\n",
        f"{MARKER} / {MARKER}\r\n\r\n",
    ):
        reader, writer = await asyncio.open_connection(split.hostname, split.port)
        writer.write(request.encode() + b"\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.")
        writer.transport.abort()


async def storm_at_the_server(world: World) -> None:
    async with world.channel() as channel:
        for token in (*world.bad_tokens, world.token):
            stub = ChatServiceStub(channel, metadata=bearer(token))
            with suppress(GRPCError):
                await stub.get_chat_history(GetChatHistoryRequest("room"))
        async with ChatCall(ChatServiceStub(channel, metadata=bearer(world.token))) as call:
            await call.enter("room", after_seq=0)
            await call.hear()
            for content in (MARKER + "\0", MARKER * 3000):
                call.say(ChatMessage(room_id="room", sender_id="ada", content=content))
                assert (await call.receive()).error.message
            call.put(ChatStream(authenticate=Authenticate(MARKER)))
            assert (await call.receive()).error.message
    async with Channel(*split_address(world.server.address), codec=Raw()) as raw:
        for path in ("/chat.ChatService/GetUser", "/chat.ChatService/Chat", f"/chat.X/{MARKER}"):
            method: Any = UnaryUnaryMethod(raw, path, bytes, bytes)
            with pytest.raises(GRPCError):
                await method(b"\xff" + MARKER.encode(), metadata=bearer(world.token))


# Failures of storing a message, and the code sent to its sender.
BREAKING: Final = {
    "UNAVAILABLE": "INSERT INTO missing VALUES (1)",
    "INTERNAL": "SELECT RAISE(ABORT, 'broken')",
}


def broken(path: Path, code: str = "UNAVAILABLE") -> None:
    """Makes storing and reading of messages fail.

    Args:
        path: the database.
        code: the code for senders: a broken store, or an unstorable message.
    """
    connection = apsw.Connection(str(path))
    trigger = f"CREATE TRIGGER broken BEFORE INSERT ON journal BEGIN {BREAKING[code]}; END"
    connection.execute(trigger)
    connection.execute("UPDATE messages SET content = CAST(x'ff' AS TEXT) || content")
    connection.close()


async def fail_at_the_door(world: World, code: str) -> None:
    async with world.websocket(world.token) as client:
        refused = await client.ask(chat_message=message("room", id="another"))
        assert refused["error"]["code"] == code
        refused = await client.ask(get_chat_history={"room_id": "room"})
        assert refused["error"]["code"] == "UNAVAILABLE"
        await client.ask(join={"room_id": "room", "after_seq": 0})


async def fail_inside(world: World, path: Path) -> None:
    """Causes a defect: an announced message is missing."""
    async with world.channel() as channel:
        stub = ChatServiceStub(channel, metadata=bearer(world.token))
        async with ChatCall(stub) as member, ChatCall(stub) as other:
            assert await member.enter("room") == 1
            connection = apsw.Connection(str(path))
            connection.execute("DELETE FROM messages")
            connection.close()
            other.say(ChatMessage(room_id="room", sender_id="ada", content=MARKER))
            other.join("room", after_seq=0)
            other.end()
            answers, status = await other.rest()
            # The refusal of the unstored message may come before or after it.
            kinds = [which_one_of(answer, "payload")[0] for answer in answers]
            refused = [each for each, kind in zip(answers, kinds, strict=True) if kind == "error"]
            assert "INTERNAL" in [each.error.code.name for each in refused]
            assert status.name == "OK"


def events(log: str, form: str) -> set[str]:
    if form == "json":
        return {json.loads(line)["event"] for line in log.splitlines()}
    return set(re.findall(r'event="([^"]*)"', log))


_TOLD: Final = {
    "UNAVAILABLE": "commit failed",
    "INTERNAL": "commit made without what cannot be stored",
}


@pytest.mark.parametrize(("form", "code"), [("json", "UNAVAILABLE"), ("readable", "INTERNAL")])
async def test_logs_hold_no_contents_or_tokens(tmp_path: Path, form: str, code: str) -> None:
    signer = eddsa()
    proxy_token = signer.token(sub="edge", role="proxy", rooms=None)
    rooms = {"read": ["room", "unread"], "write": ["room"]}
    token = signer.token(rooms=rooms)
    async with world(tmp_path, signer, proxy_token, token, form) as healthy:
        await storm_at_the_door(healthy)
        await storm_at_the_server(healthy)
        secrets = [MARKER, *healthy.bad_tokens]
    broken(tmp_path / "chat.db", code)
    async with world(tmp_path, signer, proxy_token, token, form) as failing:
        await fail_at_the_door(failing, code)
        await fail_inside(failing, tmp_path / "chat.db")
    secrets += [part[:40] for part in (*token.split("."), *proxy_token.split("."))]
    server, door = ((tmp_path / name).read_text() for name in ("chat.log", "proxy.log"))
    assert events(server, form) >= {_TOLD[code], "request failed"}
    assert "frame refused" in door
    for secret in secrets:
        assert secret not in server
        assert secret not in door
