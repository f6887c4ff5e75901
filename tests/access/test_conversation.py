"""The token examples of docs/websocket-api.md."""

import json

import aiohttp

import proxy
from gen.chat import Join
from tests.access.doors import Doors
from tests.access.signing import Signer, bearer
from tests.docs.markdown import ROOT, section
from tests.kit.web import HANDSHAKE
from tests.proxy.web_client import visitor


async def test_documented_token_renewal(doors: Doors, signer: Signer) -> None:
    asked, answered = section(ROOT / "docs/websocket-api.md", "authenticate").blocks
    shown = json.loads(asked.text)["authenticate"]["token"]
    token = signer.token()
    async with visitor(doors.url, headers=bearer(token)) as client:
        await client.send_text(asked.text.replace(shown, token).encode())
        answer, example = await client.receive(), json.loads(answered.text)
        for frame in (answer, example):
            assert frame["authenticated"].pop("expires_at")
        assert answer == example


async def test_browser_token_is_a_subprotocol(doors: Doors, signer: Signer) -> None:
    async with visitor(doors.url, protocols=["chat", f"bearer.{signer.token()}"]) as client:
        assert client.socket.protocol == "chat"
        answer = await client.ask(join={"room_id": "lobby"})
        assert answer["joined"]["last_seq"] == 0


async def test_token_in_wrong_place_is_refused(doors: Doors, signer: Signer) -> None:
    token = signer.token()
    async with doors.visit("websocket", token) as ada:  # there is a link, then
        await ada.ask(Join("lobby"))
    wrong = [
        {"authorization": f"Basic {token}"},
        {"sec-websocket-protocol": f"bearer.{token}"},
        {"authorization": f"Bearer {token}", "sec-websocket-protocol": f"chat, bearer.{token}"},
    ]
    async with aiohttp.ClientSession() as session:
        for headers in wrong:
            async with session.get(doors.url, headers=HANDSHAKE | headers) as response:
                assert response.status == 400
                assert token not in await response.text()


async def test_basic_password_is_ignored_without_keys(
    chat_proxy: proxy.RunningProxy,
) -> None:
    """It belongs to a proxy in front, which passes it on."""
    headers = {"authorization": "Basic YWRhOnNlY3JldA=="}
    async with visitor(chat_proxy.url, headers=headers) as client:
        assert "joined" in await client.ask(join={"room_id": "lobby"})
