"""The page in a real browser: writing, reading, resuming."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest
from playwright.async_api import expect

import chat

if TYPE_CHECKING:
    from tests.browser.conftest import Servers, Visit, Visitor

# They share one browser.
pytestmark = pytest.mark.asyncio(loop_scope="session")

_CLOCK: Final = re.compile(r"^\d\d:\d\d$")
_LONG_NAME: Final = "A name has at most 64 characters; this one has 65."


async def test_two_people_talk(visit: Visit) -> None:
    ada, bob = await visit(), await visit()
    await ada.enter("ada", "lobby")
    await bob.enter("bob", "lobby")
    await ada.say("Hello, bob")
    await bob.sees("Hello, bob")
    await bob.say("Hello, ada")
    for visitor in (ada, bob):
        await visitor.sees("Hello, bob", "Hello, ada")
        senders = visitor.page.get_by_test_id("message-sender")
        await expect(senders).to_have_text(["ada", "bob"])
        await expect(visitor.messages.first).to_have_attribute("data-seq", "1")
        await expect(visitor.page.get_by_test_id("message-time").first).to_have_text(_CLOCK)


async def test_history_on_entering_and_reload(visit: Visit, servers: Servers) -> None:
    await servers.post("lobby", "bob", ["one", "two"])
    ada = await visit()
    await ada.enter("ada", "lobby")
    await ada.sees("one", "two")
    await ada.say("three")
    await ada.sees("one", "two", "three")
    await ada.page.reload()
    await ada.is_in("lobby")
    await ada.sees("one", "two", "three")
    await expect(ada.page.get_by_test_id("self")).to_have_text("ada")


async def test_scrolling_up_loads_older_history(visit: Visit, servers: Servers) -> None:
    await servers.post("lobby", "bob", [f"number {i}" for i in range(1, 131)])
    ada = await visit()
    await ada.enter("ada", "lobby")
    await expect(ada.messages).to_have_count(50)
    await expect(ada.message("number 130")).to_be_in_viewport()
    await ada.log.evaluate("log => log.scrollTop = 60")
    before = await _top(ada, "number 84")
    await expect(ada.messages).to_have_count(100)
    assert await _top(ada, "number 84") == pytest.approx(before, abs=2)
    await ada.log.evaluate("log => log.scrollTop = 0")
    await expect(ada.messages).to_have_count(130)
    await expect(ada.texts).to_have_text([f"number {i}" for i in range(1, 131)])
    await expect(ada.page.get_by_test_id("load-older")).to_be_hidden()


async def test_new_messages_keep_scroll_position(visit: Visit, servers: Servers) -> None:
    await servers.post("lobby", "bob", [f"number {i}" for i in range(1, 41)])
    ada = await visit()
    await ada.enter("ada", "lobby")
    await expect(ada.messages).to_have_count(40)
    await ada.log.evaluate("log => log.scrollTop = 300")
    before = await _top(ada, "number 10")
    await servers.post("lobby", "bob", ["breaking news"])
    jump = ada.page.get_by_test_id("jump-button")
    await expect(jump).to_have_text("1 new message")
    assert await _top(ada, "number 10") == pytest.approx(before, abs=2)
    await expect(ada.message("breaking news")).not_to_be_in_viewport()
    await jump.click()
    await expect(ada.message("breaking news")).to_be_in_viewport()
    await expect(jump).to_be_hidden()


async def test_markup_is_shown_as_text(visit: Visit) -> None:
    attack = '<img src=x onerror="alert(1)"><script>alert(2)</script> <b>bold</b>'
    ada, bob = await visit(), await visit()
    await ada.enter("<i>ada</i>", "<u>lobby</u>")
    await bob.enter("bob", "<u>lobby</u>")
    await ada.say(attack)
    for visitor in (ada, bob):
        await visitor.sees(attack)
        await expect(visitor.page.get_by_test_id("message-sender")).to_have_text("<i>ada</i>")
        await expect(visitor.log.locator("img, script, b, i")).to_have_count(0)


async def test_only_addresses_become_links(visit: Visit) -> None:
    ada = await visit()
    await ada.enter("ada", "lobby")
    text = "See https://example.org/a?b=1, not javascript:alert(1)."
    await ada.say(text)
    await ada.sees(text)
    link = ada.log.get_by_role("link")
    await expect(link).to_have_count(1)
    await expect(link).to_have_attribute("href", "https://example.org/a?b=1")
    await expect(link).to_have_attribute("rel", "noopener noreferrer")


async def test_unread_messages_per_room(visit: Visit, servers: Servers) -> None:
    ada = await visit()
    await ada.enter("ada", "lobby")
    await _join(ada, "ops")
    await servers.post("lobby", "bob", ["one", "two"])
    count = ada.room_item("lobby").get_by_test_id("unread-count")
    await expect(count).to_have_text("2")
    await expect(ada.room_item("lobby")).to_have_accessible_name("lobby, 2 unread")
    await expect(ada.page).to_have_title("(2) ops · Chat")
    await servers.post("ops", "bob", ["here"])
    await ada.sees("here")
    await expect(ada.room_item("ops").get_by_test_id("unread-count")).to_be_hidden()

    await ada.room_item("lobby").click()
    await ada.sees("one", "two")
    await expect(count).to_be_hidden()
    await expect(ada.page.get_by_test_id("new-mark")).to_be_visible()
    await expect(ada.page).to_have_title("lobby · Chat")


async def test_unread_count_outlives_reload(visit: Visit, servers: Servers) -> None:
    ada = await visit()
    await ada.enter("ada", "lobby")
    await _join(ada, "ops")
    await servers.post("lobby", "bob", ["one"])
    count = ada.room_item("lobby").get_by_test_id("unread-count")
    await expect(count).to_have_text("1")
    await ada.page.reload()
    await expect(count).to_have_text("1")


async def test_room_in_address_can_be_left(visit: Visit, servers: Servers) -> None:
    await servers.post("a room/ü", "bob", ["found it"])
    ada = await visit("#a%20room%2F%C3%BC")
    await expect(ada.room).to_have_value("a room/ü")
    await ada.enter("ada", "a room/ü")
    await ada.sees("found it")
    await _join(ada, "ops")
    assert ada.page.url.endswith("#ops")
    await ada.page.go_back()
    await ada.is_in("a room/ü")

    await ada.leave()
    await ada.is_in("ops")
    await expect(ada.page.get_by_test_id("room-item")).to_have_accessible_name("ops")
    await servers.post("a room/ü", "bob", ["gone?"])
    await servers.post("ops", "bob", ["still here"])
    await ada.sees("still here")


class TestLimits:
    """Input beyond a limit is reported beside its field before it is sent."""

    async def test_user_names_are_bounded(self, visit: Visit) -> None:
        ada = await visit()
        await ada.name.fill("x" * 65)
        await ada.room.fill("lobby")
        await ada.page.get_by_test_id("enter-button").click()
        problem = ada.page.get_by_test_id("name-problem")
        await expect(problem).to_have_text(_LONG_NAME)
        await expect(ada.name).to_have_attribute("aria-invalid", "true")
        await expect(ada.name).to_be_focused()
        await expect(ada.name).to_have_accessible_description(_LONG_NAME)
        await ada.name.fill("x" * 64)
        await expect(problem).to_be_hidden()
        await ada.page.get_by_test_id("enter-button").click()
        await ada.is_in("lobby")

    async def test_room_in_address_is_bounded(self, visit: Visit) -> None:
        ada = await visit("#" + "y" * 65)
        problem = ada.page.get_by_test_id("room-problem")
        await expect(problem).to_contain_text("at most 64 characters")

    async def test_messages_are_bounded(self, visit: Visit) -> None:
        ada = await visit()
        await ada.enter("ada", "lobby")
        await ada.say("é" * 8193)
        problem = ada.page.get_by_test_id("message-problem")
        await expect(problem).to_have_text("1 character too long.")
        await expect(ada.messages).to_have_count(0)
        await ada.say("é" * 8192)
        await ada.sees("é" * 8192)
        await expect(problem).to_be_hidden()


class TestRefusal:
    """Refused input stays where it was written, with the reason."""

    async def test_refused_message_shows_reason(self, visit: Visit, servers: Servers) -> None:
        await _restart_chat(servers, chat.Limits(content_bytes=20))
        ada = await visit()
        await ada.enter("ada", "lobby")
        await ada.say("longer than this server takes")
        refused = ada.messages.first
        await expect(refused).to_have_attribute("data-state", "failed")
        await expect(refused).to_contain_text("Too long: this server takes at most 20 bytes.")

        await _restart_chat(servers, chat.Limits())
        await refused.get_by_test_id("retry-button").click()
        await ada.sees("longer than this server takes")

    async def test_abandoned_refused_message_is_removed(
        self, visit: Visit, servers: Servers
    ) -> None:
        await _restart_chat(servers, chat.Limits(content_bytes=20))
        ada = await visit()
        await ada.enter("ada", "lobby")
        await ada.say("longer than this server takes")
        await ada.page.get_by_test_id("discard-button").click()
        await expect(ada.messages).to_have_count(0)
        await expect(ada.input).to_be_focused()

    async def test_refused_room_shows_reason(self, visit: Visit, servers: Servers) -> None:
        await servers.stop_proxy()
        servers.proxy_config = replace(servers.proxy_config, rooms_per_connection=1)
        await servers.start_proxy()
        ada = await visit()
        await ada.enter("ada", "lobby")
        await ada.page.get_by_test_id("join-button").click()
        await ada.room.fill("ops")
        await ada.page.get_by_test_id("enter-button").click()
        error = ada.page.get_by_test_id("room-error")
        await expect(error).to_contain_text("You can be in at most 1 room.")

        await ada.room_item("lobby").click()
        await expect(error).to_be_hidden()
        await ada.leave()
        await expect(error).to_be_visible()
        await error.get_by_role("button", name="Try again").click()
        await expect(error).to_be_hidden()
        await ada.say("in at last")
        await ada.sees("in at last")


async def _restart_chat(servers: Servers, limits: chat.Limits) -> None:
    await servers.stop_chat()
    servers.chat_config = replace(servers.chat_config, limits=limits)
    await servers.start_chat()


async def _join(visitor: Visitor, room: str) -> None:
    await visitor.page.get_by_test_id("join-button").click()
    await visitor.room.fill(room)
    await visitor.page.get_by_test_id("enter-button").click()
    await visitor.is_in(room)


async def _top(visitor: Visitor, text: str) -> float:
    box = await visitor.message(text).bounding_box()
    assert box is not None
    return box["y"]
