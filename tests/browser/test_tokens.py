"""The page before a server that requires tokens."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Locator, expect

import chat
from proxy.clients import permissions
from tests.access.signing import Signer, eddsa, jwks
from tests.support import eventually

if TYPE_CHECKING:
    from tests.browser.conftest import Servers, Visit, Visitor

# They share one browser.
pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def signer() -> Signer:
    """Signs the tokens that the server believes."""
    return eddsa()


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def guarded(servers: Servers, signer: Signer, tmp_path: Path) -> None:
    """Lets the servers require tokens."""
    keys, credential = tmp_path / "keys.jwks", tmp_path / "proxy.token"
    keys.write_text(jwks(signer.named("one")))
    credential.write_text(signer.token(sub="edge", role="proxy", rooms=None))
    await servers.stop_proxy()
    await servers.stop_chat()
    servers.chat_config = replace(servers.chat_config, trust=chat.Trust(token_keys=str(keys)))
    servers.proxy_config = replace(servers.proxy_config, upstream_token_file=str(credential))
    await servers.start_chat()
    await servers.start_proxy()
    await eventually(lambda: ready(servers))


async def ready(servers: Servers) -> bool:
    """Whether the proxy knows that the server requires tokens."""
    async with aiohttp.ClientSession() as session, session.get(f"{servers.url}readyz") as answer:
        return answer.status == 200


def entry(visitor: Visitor) -> Locator:
    return visitor.page.get_by_test_id("entry")


async def sign_in(visitor: Visitor, token: str) -> None:
    """Fills in the token dialog."""
    await expect(visitor.page.get_by_label("Token")).to_be_visible()
    await visitor.page.get_by_label("Token").fill(token)
    await visitor.page.get_by_test_id("enter-button").click()


async def stored(visitor: Visitor) -> dict[str, Any]:
    """All data that the page stores."""
    found: dict[str, Any] = await visitor.page.evaluate(
        "() => ({ local: { ...localStorage }, session: { ...sessionStorage }, at: location.href })"
    )
    return found


async def test_first_visit_asks_for_token(visit: Visit, signer: Signer) -> None:
    ada, bob = await visit(), await visit()
    for visitor, name in ((ada, "ada"), (bob, "bob")):
        await expect(entry(visitor)).to_contain_text("This server asks for a token.")
        await expect(visitor.name).to_be_hidden()
        await expect(visitor.page.get_by_label("Token")).to_have_attribute("type", "password")
        await visitor.room.fill("lobby")
        await sign_in(visitor, signer.token(sub=name))
        await visitor.is_in("lobby")
    await expect(ada.page.get_by_test_id("self")).to_have_text("ada")
    await ada.say("hello")
    await bob.sees("hello")
    await expect(bob.page.get_by_test_id("message-sender")).to_have_text(["ada"])


async def test_token_is_kept_in_tab_only(visit: Visit, signer: Signer) -> None:
    token, ada = signer.token(), await visit()
    await sign_in(ada, token)
    await ada.is_in("general")
    found = await stored(ada)
    assert token in found["session"]["chat.token"]
    assert token not in str(found["local"])
    assert token not in found["at"]
    await ada.page.reload()
    await ada.is_in("general")
    await expect(entry(ada)).to_be_hidden()
    await ada.say("still here")
    await ada.sees("still here")


async def test_token_in_the_address(visit: Visit, signer: Signer) -> None:
    ada = await visit(f"#token={signer.token()}&room=lobby")
    await ada.is_in("lobby")
    assert ada.page.url.endswith("/#lobby")
    await ada.say("hello")
    await ada.sees("hello")
    assert "token" not in await ada.page.evaluate("history.length + location.href")


async def test_token_in_address_without_room(visit: Visit, signer: Signer) -> None:
    ada = await visit(f"#token={signer.token()}")
    await expect(ada.room).to_have_value("general")
    assert "#" not in ada.page.url
    await expect(ada.name).to_be_hidden()
    await ada.page.get_by_test_id("enter-button").click()
    await ada.is_in("general")
    await expect(ada.page.get_by_test_id("self")).to_have_text("ada")


@pytest.mark.parametrize(
    ("token", "problem"),
    [
        ("", "Enter a token."),
        ("my password", "This is not a token"),
        ("a.b.c", "This token does not say who you are."),
    ],
)
async def test_malformed_token_is_refused(visit: Visit, token: str, problem: str) -> None:
    ada = await visit()
    await sign_in(ada, token)
    field = ada.page.get_by_label("Token")
    await expect(ada.page.get_by_test_id("token-problem")).to_contain_text(problem)
    await expect(field).to_have_attribute("aria-invalid", "true")
    await expect(field).to_be_focused()


async def test_invalid_token_is_refused(visit: Visit, signer: Signer) -> None:
    ada = await visit()
    await sign_in(ada, eddsa().token())
    await expect(entry(ada)).to_contain_text("The server did not accept this token.")
    await sign_in(ada, signer.token())
    await ada.is_in("general")
    await expect(ada.banner).to_be_hidden()


class Ahead(datetime):
    """The clock of the proxy.

    Attributes:
        by: how far it is ahead.
    """

    by = timedelta()

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # no clock is ahead by itself
        return datetime.now(tz) + cls.by


async def test_expired_session_keeps_unsent_text(
    visit: Visit, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(permissions, "datetime", Ahead)
    monkeypatch.setattr(permissions, "_LONGEST_TIMER_SECONDS", 0.1)
    ada = await visit()
    await expect(entry(ada)).to_be_visible()
    await sign_in(ada, signer.token())
    await ada.is_in("general")
    await ada.say("before")
    await ada.sees("before")
    # Two hours pass, for the page as well.
    await ada.page.evaluate("() => { const { now } = Date; Date.now = () => now() + 7_200_000; }")
    monkeypatch.setattr(Ahead, "by", timedelta(hours=2))
    await expect(entry(ada)).to_contain_text("Your session has expired.")
    await ada.page.get_by_role("button", name="Cancel").click()
    await expect(ada.banner).to_contain_text("Your session has expired.")
    await ada.say("meanwhile")
    await expect(ada.message("meanwhile")).to_have_attribute("data-state", "sending")

    await ada.banner.get_by_role("button", name="Sign in").click()
    await expect(entry(ada)).to_contain_text("Your session has expired.")
    await sign_in(ada, signer.token(exp=int(time.time()) + 3 * 3600))
    await ada.sees("before", "meanwhile")
    await expect(ada.banner).to_be_hidden()


async def test_other_token_is_another_user(visit: Visit, signer: Signer) -> None:
    ada = await visit(f"#token={signer.token()}&room=lobby")
    await ada.is_in("lobby")
    await ada.say("by ada")
    await ada.sees("by ada")
    await ada.page.get_by_role("button", name="Use another token").click()
    await sign_in(ada, signer.token(sub="bob"))
    await expect(ada.page.get_by_test_id("self")).to_have_text("bob")
    await ada.say("by bob")
    await ada.sees("by ada", "by bob")
    await expect(ada.page.get_by_test_id("message-sender")).to_have_text(["ada", "bob"])


async def test_closed_room_is_refused(visit: Visit, signer: Signer) -> None:
    ada = await visit()
    await ada.room.fill("secrets")
    await sign_in(ada, signer.token(rooms={"read": ["lobby"], "write": ["lobby"]}))
    error = ada.page.get_by_test_id("room-error")
    await expect(error).to_contain_text("You may not read this room.")


async def test_rate_limited_user_waits_as_told(
    visit: Visit, servers: Servers, signer: Signer
) -> None:
    await servers.stop_chat()
    servers.chat_config = replace(servers.chat_config, rates=chat.Rates(sends=0.2))
    await servers.start_chat()
    ada = await visit(f"#token={signer.token()}&room=lobby")
    await ada.is_in("lobby")
    texts = [f"number {number}" for number in range(3)]
    await ada.say_at_once(texts)
    await expect(ada.banner).to_have_text(re.compile("Too many messages. What you send is kept."))
    await expect(ada.texts).to_have_count(3)
    for text in texts:
        await expect(ada.message(text)).to_have_attribute("data-state", "sent")
    await expect(ada.banner).to_be_hidden()
