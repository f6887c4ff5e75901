"""Rooms: which there are, what they are called, going to them, leaving them, and back."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest
from playwright.async_api import expect

import chat

if TYPE_CHECKING:
    from playwright.async_api import Locator

    from tests.browser.conftest import Servers, Visit, Visitor

# They share one browser.
pytestmark = pytest.mark.asyncio(loop_scope="session")

_PHONE: Final = (390, 780)


@pytest.fixture
def database() -> str:
    return chat.IN_MEMORY


def _choice(visitor: Visitor, text: str) -> Locator:
    """An entry of the list of rooms."""
    return visitor.page.get_by_test_id("choice").filter(has_text=text)


async def _open_info(visitor: Visitor) -> None:
    await visitor.page.get_by_test_id("room-menu-button").click()
    await visitor.page.get_by_test_id("room-info-button").click()


async def test_rooms_are_chosen_made_and_named(visit: Visit, servers: Servers) -> None:
    ada = await visit()
    await expect(ada.page.get_by_test_id("choices-note")).to_have_text(
        "No rooms yet. Create the first."
    )
    await servers.post("cours-2", "bob", ["one"])
    await servers.post("cours-10", "bob", ["two"])
    await ada.page.reload()
    await expect(ada.page.get_by_test_id("choice")).to_have_count(2)
    await ada.name.fill("ada")
    await ada.room.fill("10")
    await expect(ada.page.get_by_test_id("choice").first).to_contain_text("cours-10")
    await ada.room.press("ArrowDown")
    await expect(ada.room).to_have_attribute("aria-activedescendant", "choice-0")
    await ada.room.press("Enter")
    await ada.is_in("cours-10")

    # What is made is found by others at once, and is called as it was named.
    await ada.page.keyboard.press("Control+k")
    await ada.room.fill("cours-3")
    await expect(_choice(ada, "Create “cours-3”")).to_have_attribute("aria-selected", "true")
    await ada.room.press("Enter")
    await ada.is_in("cours-3")
    ben = await visit(size=_PHONE)
    await ben.name.fill("ben")
    await _choice(ben, "cours-3").click()
    await ben.is_in("cours-3")
    await _open_info(ada)
    await expect(ada.page.get_by_test_id("room-info-name")).to_have_value("cours-3")
    await ada.page.get_by_test_id("room-info-name").fill("Third course")
    await ada.page.get_by_test_id("room-info-topic").fill("Fields and rings")
    await ada.page.get_by_test_id("room-info-save").click()
    for visitor in (ada, ben):
        await visitor.is_in("Third course")
        await expect(visitor.page).to_have_title("Third course · Chat")
    await expect(ada.page.get_by_test_id("room-topic")).to_have_text("Fields and rings")
    await expect(ada.room_item("cours-3")).to_have_accessible_name("Third course")

    # The switcher: news first, then the latest; the title is found, and Escape leads back.
    await servers.post("cours-10", "bob", ["news"])
    await expect(ada.page).to_have_title("(1) Third course · Chat")
    await ada.page.keyboard.press("Control+k")
    first = ada.page.get_by_test_id("choice").first
    await expect(first).to_contain_text("cours-10")
    await expect(first.get_by_role("img")).to_have_accessible_name("1 unread")
    await ada.room.fill("RINGS")
    await expect(ada.page.get_by_test_id("choice").first).to_contain_text("Third course")
    await ada.page.keyboard.press("Escape")
    await expect(ada.page.get_by_test_id("entry")).to_be_hidden()
    await ada.is_in("Third course")


async def test_draft_and_place_outlive_leaving_and_going_back(
    visit: Visit, servers: Servers
) -> None:
    await servers.post("lobby", "bob", [f"line {i}" for i in range(1, 121)])
    ada = await visit()
    await ada.enter("ada", "lobby")
    await ada.page.evaluate("location.hash = '#ops'")
    await ada.is_in("ops")
    await ada.input.fill("half a thought")
    await ada.room_item("lobby").click()
    await expect(ada.room_item("ops").get_by_test_id("room-draft")).to_be_visible()
    await ada.room_item("ops").click()
    await ada.leave()
    await ada.is_in("lobby")
    await expect(ada.page.get_by_test_id("toast")).to_contain_text("You left ops.")
    await ada.page.get_by_test_id("toast-button").click()
    await ada.is_in("ops")
    await expect(ada.input).to_have_value("half a thought")
    await ada.page.reload()
    await expect(ada.input).to_have_value("half a thought")

    # Back closes what lies over the page, and the room behind it stays.
    address = ada.page.url
    await ada.page.get_by_test_id("join-button").click()
    await expect(ada.page.get_by_test_id("entry")).to_be_visible()
    await ada.page.go_back()
    await expect(ada.page.get_by_test_id("entry")).to_be_hidden()
    assert ada.page.url == address
    # Closed otherwise, it leaves nothing behind in the way back.
    await ada.page.get_by_test_id("join-button").click()
    await ada.page.keyboard.press("Escape")
    await ada.page.wait_for_function("() => history.state === null")
    await ada.page.go_back()
    await ada.is_in("lobby")


async def test_message_has_an_address(visit: Visit, servers: Servers) -> None:
    await servers.post("lobby", "bob", [f"line {i}" for i in range(1, 121)])
    ada = await visit("#lobby/30")
    await ada.name.fill("ada")
    await ada.page.get_by_test_id("enter-button").click()
    await expect(ada.message("line 30")).to_be_focused()
    await expect(ada.message("line 30")).to_be_in_viewport()
    await ada.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await ada.message("line 31").hover()
    await ada.page.get_by_test_id("bar-more").click()
    await ada.page.get_by_role("menuitem", name="Copy link").click()
    copied = await ada.page.evaluate("navigator.clipboard.readText()")
    assert copied == f"{servers.url}#lobby/31"
    await ada.page.evaluate("location.hash = '#lobby/99'")
    await expect(ada.message("line 99")).to_be_focused()
    await ada.page.evaluate("location.hash = '#ops/7'")
    await expect(ada.page.get_by_test_id("toast")).to_contain_text("This message is not there.")
    await ada.room_item("lobby").click()
    await ada.page.get_by_test_id("room-menu-button").click()
    await ada.page.get_by_test_id("go-date-button").click()
    field = ada.page.get_by_test_id("go-date-input")
    await field.fill("2020-02-02")
    await ada.page.get_by_test_id("go-date-go").click()
    await expect(ada.message("line 1")).to_be_focused()


async def test_back_closes_what_is_open_on_a_phone(visit: Visit) -> None:
    ben = await visit(size=_PHONE, has_touch=True)
    await ben.enter("ben", "lobby")
    # The first room takes the place of the page without one, so that Back leads out of it.
    assert await ben.page.evaluate("history.length") == 2
    await ben.page.get_by_test_id("menu-button").click()
    await expect(ben.room_item("lobby")).to_be_in_viewport()
    await ben.page.get_by_test_id("join-button").click()
    await expect(ben.page.get_by_test_id("entry")).to_be_visible()
    await ben.page.go_back()
    await expect(ben.page.get_by_test_id("entry")).to_be_hidden()
    await ben.page.go_back()
    await expect(ben.room_item("lobby")).not_to_be_in_viewport()
    boxes = {"room-menu-button": "room-menu", "bell": "bell-box", "here": "members"}
    for opener, box in boxes.items():
        await ben.page.get_by_test_id(opener).click()
        await expect(ben.page.get_by_test_id(box)).to_be_visible()
        await ben.page.go_back()
        await expect(ben.page.get_by_test_id(box)).to_be_hidden()
        await expect(ben.page.get_by_test_id(opener)).to_have_attribute("aria-expanded", "false")
    # Closed by a key, from wherever the focus is, it leaves no step behind.
    await ben.page.get_by_test_id("bell").click()
    await ben.page.evaluate("document.activeElement.blur()")
    await ben.page.keyboard.press("Escape")
    await expect(ben.page.get_by_test_id("bell-box")).to_be_hidden()
    await expect(ben.page).to_have_url(re.compile("#lobby$"))
    # A room that is chosen in it leaves one step back.
    await ben.page.get_by_test_id("menu-button").click()
    await ben.page.get_by_test_id("join-button").click()
    await ben.room.fill("ops")
    await ben.page.get_by_test_id("enter-button").click()
    await ben.is_in("ops")
    await ben.page.go_back()
    await ben.is_in("lobby")
