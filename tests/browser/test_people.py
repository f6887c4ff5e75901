"""Who people are on the page: their names, and who is there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

import chat

if TYPE_CHECKING:
    from tests.browser.conftest import Servers, Visit, Visitor

# They share one browser.
pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def database() -> str:
    return chat.IN_MEMORY


async def test_nobody_becomes_another_by_name(visit: Visit) -> None:
    ada = await visit()
    await ada.enter("Ada", "lobby", guest=True)
    await ada.say("by the first Ada")
    await expect(ada.message("by the first Ada")).to_have_attribute("data-state", "sent")

    eve = await visit()
    question = eve.page.get_by_test_id("name-taken")
    await eve.name.fill(" ADA")
    await eve.room.fill("lobby")
    await eve.page.get_by_test_id("enter-button").click()
    await expect(question).to_contain_text("Ada has been here before. Is that you?")
    await eve.page.get_by_test_id("use-other").click()
    await expect(question).to_be_hidden()
    await expect(eve.name).to_be_focused()
    await eve.enter("Eve", "lobby", guest=True)
    await eve.say("by Eve")
    await ada.sees("by the first Ada", "by Eve")
    await _senders(ada, "Ada", "Eve")
    await _reply(ada, "by Eve")

    await _rename(eve, "Ada")
    await expect(question).to_be_visible()
    await eve.page.get_by_test_id("use-same").click()
    signs = eve.page.get_by_test_id("message-sign")
    await _senders(eve, "Ada", "Ada", "Ada")
    await expect(signs.first).not_to_be_empty()
    assert await signs.nth(0).text_content() != await signs.nth(1).text_content()
    await _is_own(eve, "other own other")

    # What one wrote stays one's own, by whatever name; others see it at the latest after a reload.
    await _rename(eve, "Eve the Second")
    await _senders(eve, "Ada", "Eve the Second", "Ada")
    await expect(signs.first).to_be_empty()
    # What the server alone refuses is told, and the name is what it was.
    await _rename(eve, "Eve\u3164")
    await expect(eve.page.get_by_test_id("toast")).to_contain_text("Not saved: ")
    await _senders(eve, "Ada", "Eve the Second", "Ada")
    await _has_profile(eve)
    for visitor in (ada, eve):
        await visitor.page.reload()
        await _senders(visitor, "Ada", "Eve the Second", "Ada")
        await expect(visitor.message("by Eve").first).to_have_attribute("data-tone", "5")
    await _is_own(ada, "own other own")
    await expect(ada.page.get_by_test_id("quote").last).to_contain_text("Eve the Second: ")
    await expect(eve.page.get_by_test_id("self")).to_have_text("Eve the Second")


async def _has_profile(eve: Visitor) -> None:
    profile = eve.page.get_by_test_id("profile")
    await eve.page.get_by_test_id("profile-button").click()
    await expect(profile.get_by_test_id("profile-name")).to_have_text("Eve the Second")
    await expect(profile.get_by_test_id("profile-id")).to_have_text(re.compile("^g-[a-z2-7]{20}$"))
    await profile.get_by_label("Colour").select_option(label="Blue")
    await profile.get_by_label("Language").select_option(label="Français")
    await expect(profile.get_by_role("heading", level=2)).to_have_text("Votre profil")
    await profile.get_by_label("Langue").select_option(value="")
    await profile.get_by_role("button", name="Close").click()
    await expect(eve.page.get_by_test_id("profile-button")).to_be_focused()


async def _rename(visitor: Visitor, name: str) -> None:
    await visitor.page.get_by_test_id("rename-button").click()
    await visitor.name.fill(name)
    await visitor.page.get_by_test_id("enter-button").click()


async def _reply(visitor: Visitor, text: str) -> None:
    await visitor.message(text).hover()
    await visitor.page.get_by_test_id("bar-reply").click()
    await expect(visitor.page.get_by_test_id("context")).to_contain_text("Reply to Eve")
    await visitor.say("an answer")
    await expect(visitor.message("an answer").get_by_test_id("quote")).to_contain_text("Eve: ")


async def _senders(visitor: Visitor, *names: str) -> None:
    await expect(visitor.page.get_by_test_id("message-sender")).to_have_text(list(names))


async def _is_own(visitor: Visitor, kinds: str) -> None:
    for nth, kind in enumerate(kinds.split()):
        message = expect(visitor.messages.nth(nth))
        if kind == "own":
            await message.to_contain_class("own")
        else:
            await message.not_to_contain_class("own")


async def test_people_see_who_is_there_and_types(visit: Visit, servers: Servers) -> None:
    ada = await visit()
    await ada.enter("Ada", "lobby", guest=True)
    here, typists = ada.page.get_by_test_id("here"), ada.page.get_by_test_id("typists")
    await expect(here).to_have_text("Only you are here.")
    await expect(ada.page.get_by_test_id("copy-link")).to_be_visible()
    ben = await visit()
    await ben.enter("Ben", "lobby", guest=True)
    await expect(ben.page.get_by_test_id("here")).to_have_text("2 here · Ada, you")

    height = await ada.log.evaluate("log => log.clientHeight")
    await ben.input.press_sequentially("hi")
    await expect(typists).to_have_text("Ben is typing…")
    await expect(ben.page.get_by_test_id("typists")).to_have_text("")
    assert await ada.log.evaluate("log => log.clientHeight") == height
    await ben.input.press("Enter")
    await ada.sees("hi")
    await expect(typists).to_have_text("")

    # By now a second one is told to those who were there before.
    await expect(here).to_have_text("2 here · Ben, you")
    await here.click()
    sheet = ada.page.get_by_test_id("members")
    rows = ["A Ada (you) here", "B Ben here"]
    await expect(sheet.get_by_test_id("member")).to_have_text(rows, use_inner_text=True)
    await expect(sheet.get_by_role("button", name="Close")).to_be_focused()
    await ada.input.fill("beside the list, one can write")
    await here.focus()
    await here.press("Enter")
    await expect(sheet).to_be_hidden()
    await here.press("Enter")
    await ada.page.keyboard.press("Escape")
    await expect(sheet).to_be_hidden()
    await expect(here).to_be_focused()

    # Nobody knows who is there without a connection; a restart and a reload are silent.
    await servers.stop_proxy()
    await expect(here).to_be_hidden()
    await servers.stop_chat()
    await servers.start_chat()
    await servers.start_proxy()
    await expect(here).to_have_text("2 here · Ben, you")
    await ben.page.reload()
    await expect(ben.page.get_by_test_id("here")).to_have_text("2 here · Ada, you")
    await expect(here).to_have_text("2 here · Ben, you")
