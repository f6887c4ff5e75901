"""What one does to a message: edit, delete, react, answer, mention, pin; as others see it."""

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


@pytest.fixture
def database() -> str:
    """The engine does not matter here: each keeps the contract."""
    return chat.IN_MEMORY


async def _pair(visit: Visit) -> tuple[Visitor, Visitor]:
    ada, ben = await visit(), await visit()
    await ada.enter("ada", "lobby")
    await ben.enter("ben", "lobby")
    return ada, ben


async def _choose(visitor: Visitor, message: Locator, action: str) -> None:
    """Opens the menu of a message, and chooses from it."""
    await message.hover()
    await message.get_by_test_id("bar-more").click()
    await visitor.page.get_by_role("menuitem", name=action).click()


async def test_edit_and_deletion_are_seen_by_others_and_later(visit: Visit) -> None:
    ada, ben = await _pair(visit)
    await ada.say("Helo")
    await ada.say("gone soon")
    for visitor in (ada, ben):
        await visitor.sees("Helo", "gone soon")

    await _choose(ada, ada.message("Helo"), "Edit")
    await expect(ada.page.get_by_test_id("context")).to_contain_text("Editing Helo")
    await ada.say("Hello")
    await _choose(ada, ada.message("gone soon"), "Delete")
    dialog = ada.page.get_by_test_id("confirm")
    await expect(dialog).to_contain_text("gone soon")
    await expect(dialog).to_contain_text("Everyone will see that it was deleted.")
    await dialog.get_by_role("button", name="Delete").click()

    for visitor in (ada, ben):
        await visitor.sees("Hello", "Message deleted")
        await expect(visitor.messages.first.get_by_test_id("edited")).to_be_visible()
        await expect(visitor.messages.last.get_by_test_id("edited")).to_be_hidden()
    await ben.page.reload()
    await ben.sees("Hello", "Message deleted")
    await ben.messages.last.hover()
    await expect(ben.page.get_by_test_id("message-bar")).to_be_hidden()


_PRESS_UP: Final = """
field => {
    field.focus();
    field.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowUp', bubbles: true}));
    return field.value;
}
"""


async def test_keys_edit_and_keep_the_draft(visit: Visit) -> None:
    ada = await visit()
    await ada.enter("ada", "lobby")
    await ada.say("first")
    await ada.sees("first")
    # At once: the next key may come before the next frame.
    assert await ada.input.evaluate(_PRESS_UP) == "first"
    await ada.input.fill("not this")
    await ada.input.press("Escape")
    await expect(ada.input).to_have_value("")
    await ada.input.fill("a draft")
    await ada.message("first").focus()
    await ada.page.keyboard.press("e")
    await expect(ada.input).to_be_focused()
    await ada.input.fill("second")
    await ada.input.press("Enter")
    await ada.sees("second")
    await expect(ada.input).to_have_value("a draft")


async def test_log_is_walked_by_keys(visit: Visit) -> None:
    ada, ben = await _pair(visit)
    await ben.say("one")
    await ben.say("two")
    for visitor in (ada, ben):
        await visitor.sees("one", "two")
    # What a key opens is beside the bubble, on the right if the message is one's own.
    await ben.message("two").focus()
    await ben.page.keyboard.press("+")
    box = await ben.page.get_by_test_id("picker").bounding_box()
    assert box is not None
    assert box["x"] > 640
    await ben.page.keyboard.press("Escape")
    await ada.message("two").focus()
    await ada.page.keyboard.press("ArrowUp")
    await expect(ada.message("one")).to_be_focused()
    await expect(ada.message("one")).to_have_accessible_name(re.compile(r"^ben, \d\d:\d\d; one$"))
    await ada.page.keyboard.press("+")
    await ada.page.get_by_test_id("picker-input").fill("rocket")
    await ada.page.keyboard.press("Enter")
    chip = ben.message("one").get_by_test_id("chip")
    await expect(chip).to_have_accessible_name("🚀 1, ada")
    await expect(ada.message("one")).to_be_focused()
    await ada.page.keyboard.press("Escape")
    await expect(ada.input).to_be_focused()
    await ada.message("one").focus()
    await ada.page.keyboard.press("r")
    await expect(ada.page.get_by_test_id("context")).to_contain_text("Reply to ben")
    await expect(ada.input).to_be_focused()


async def test_reactions_are_counted_and_taken_back(visit: Visit) -> None:
    ada, ben = await _pair(visit)
    await ada.say("cake?")
    await ben.sees("cake?")
    await ben.messages.first.hover()
    await ben.page.get_by_test_id("bar-react").click()
    await ben.page.get_by_test_id("picker-input").fill("🍰")
    await ben.page.keyboard.press("Enter")
    hers, his = (visitor.messages.first.get_by_test_id("chip") for visitor in (ada, ben))
    await expect(his).to_have_attribute("aria-pressed", "true")
    await expect(hers).to_have_attribute("aria-pressed", "false")
    await hers.click()
    await expect(his).to_have_accessible_name("🍰 2, you and ada")
    await his.click()
    await expect(hers).to_have_accessible_name("🍰 1, you")
    await expect(his).to_have_attribute("aria-pressed", "false")


async def test_reply_leads_to_what_it_answers(visit: Visit, servers: Servers) -> None:
    await servers.post("lobby", "cleo", [f"number {i}" for i in range(1, 131)])
    ada, ben = await _pair(visit)
    await ada.log.evaluate("log => log.scrollTop = 0")
    await expect(ada.messages).to_have_count(100)
    await ada.message("number 35").scroll_into_view_if_needed()
    await ada.message("number 35").hover()
    await ada.page.get_by_test_id("bar-reply").click()
    await ada.say("I mean this one")
    answer = ben.message("I mean this one")
    # Ben has not loaded it: it is fetched.
    await answer.get_by_test_id("quote").click()
    await expect(ben.message("number 35")).to_be_in_viewport()
    await expect(ben.message("number 35")).to_be_focused()
    await expect(ada.message("I mean this one").get_by_test_id("quote")).to_have_text(
        "In reply to cleo: number 35"
    )


async def test_bar_follows_the_mouse(visit: Visit) -> None:
    ada, _ = await _pair(visit)
    await ada.say("one")
    await ada.say("two")
    await ada.sees("one", "two")
    one, two = ada.message("one"), ada.message("two")
    await one.hover()
    await one.get_by_test_id("bar-react").click()
    await ada.page.get_by_test_id("picker").get_by_role("button", name="thumbs up").click()
    await expect(one.get_by_test_id("chip")).to_be_visible()
    await two.get_by_test_id("message-text").hover()
    await expect(two.get_by_test_id("message-bar")).to_be_visible()
    await two.get_by_test_id("bar-more").click()
    await ada.page.keyboard.press("Escape")
    await expect(two.get_by_test_id("bar-more")).to_be_focused()
    await one.get_by_test_id("message-text").hover()
    await expect(one.get_by_test_id("message-bar")).to_be_visible()


async def test_deleted_message_keeps_the_focus_but_no_bar(visit: Visit) -> None:
    ada, _ = await _pair(visit)
    for text in ("one", "two"):
        await ada.say(text)
    await ada.sees("one", "two")
    await ada.message("two").focus()
    await ada.page.keyboard.press("Delete")
    await ada.page.get_by_test_id("confirm-yes").click()
    await ada.sees("one", "Message deleted")
    await expect(ada.messages.last).to_be_focused()
    await expect(ada.page.get_by_test_id("message-bar")).to_be_hidden()
    await _choose(ada, ada.message("one"), "Delete")
    await ada.page.get_by_test_id("confirm-yes").click()
    await ada.sees("Message deleted", "Message deleted")
    await expect(ada.messages.first).to_be_focused()
    await expect(ada.page.get_by_test_id("message-bar")).to_be_hidden()


async def test_one_step_leads_to_the_newest_message(visit: Visit) -> None:
    ada, ben = await _pair(visit)
    await ada.say("see https://example.org")
    await ada.sees("see https://example.org")
    await ada.message("see https://example.org").hover()
    await ada.page.get_by_test_id("bar-reply").click()
    await ada.say("a long answer " * 12)
    await expect(ben.messages).to_have_count(2)
    first, answer = ben.messages.first, ben.messages.last
    await expect(answer).to_have_attribute("data-state", "sent")
    await ben.input.press("Shift+Tab")
    await expect(answer).to_be_focused()
    await ben.page.keyboard.press("Tab")
    await expect(answer.get_by_test_id("quote")).to_be_focused()
    await ben.page.keyboard.press("+")
    await expect(ben.page.get_by_test_id("picker")).to_be_visible()
    await ben.page.keyboard.press("Escape")
    await expect(answer.get_by_test_id("quote")).to_be_focused()
    await ben.page.keyboard.press("Shift+Tab")
    await ben.page.keyboard.press("q")
    await expect(first).to_be_focused()
    await ben.page.keyboard.press("Tab")
    await expect(first.get_by_role("link")).to_be_focused()


async def test_mention_is_chosen_from_those_who_wrote(visit: Visit) -> None:
    ada, ben = await _pair(visit)
    await ben.say("I am here")
    await ada.sees("I am here")
    await ada.input.press_sequentially("Look @b")
    await expect(ada.page.get_by_role("option", name="ben")).to_be_visible()
    await expect(ada.input).to_have_attribute("aria-activedescendant", "suggest-0")
    await ada.input.press("Enter")
    await expect(ada.input).to_have_value("Look @ben ")
    await ada.input.press("Enter")
    await ben.sees("I am here", "Look @ben")
    await expect(ben.messages.last.get_by_test_id("mention-sign")).to_be_visible()
    await ada.say("@ben typed only")
    await ben.sees("I am here", "Look @ben", "@ben typed only")
    await expect(ben.messages.last.get_by_test_id("mention-sign")).to_be_hidden()


async def test_pins_are_listed(visit: Visit) -> None:
    ada, ben = await _pair(visit)
    await ada.say("The rules")
    for visitor in (ada, ben):
        await visitor.sees("The rules")
    await _choose(ada, ada.message("The rules"), "Pin")
    await expect(ben.messages.first.get_by_test_id("pin-sign")).to_be_visible()
    button = ben.page.get_by_test_id("pins-button")
    await expect(button).to_have_accessible_name("1 pinned message")
    await button.click()
    await ben.page.get_by_test_id("pins").get_by_role("button", name="The rules").click()
    await expect(ben.message("The rules")).to_be_focused()
    await _choose(ada, ada.message("The rules"), "Unpin")
    await expect(button).to_be_hidden()


async def test_stale_edit_is_refused_and_may_be_repeated(visit: Visit, servers: Servers) -> None:
    ada, other = await visit(), await visit()
    for tab in (ada, other):
        await tab.enter("ada", "lobby")
    await ada.say("text")
    for tab in (ada, other):
        await tab.sees("text")
    await ada.page.context.set_offline(offline=True)
    await servers.stop_proxy()
    await expect(ada.banner).to_be_visible()
    await ada.input.press("ArrowUp")
    await ada.say("written offline")
    await servers.start_proxy()
    await expect(other.banner).to_be_hidden()
    await other.input.press("ArrowUp")
    await other.say("written elsewhere")
    await other.sees("written elsewhere")
    await ada.page.context.set_offline(offline=False)
    refused = ada.messages.first
    await expect(refused).to_contain_text("Not saved: the message changed meanwhile.")
    await ada.sees("written elsewhere")
    await expect(refused.get_by_test_id("unsaved")).to_have_text("Your text: written offline")
    await other.sees("written elsewhere")
    await refused.get_by_test_id("retry-button").click()
    for tab in (ada, other):
        await tab.sees("written offline")


async def test_long_press_opens_a_sheet(visit: Visit) -> None:
    ada = await visit(size=(390, 800), has_touch=True, is_mobile=True)
    await ada.enter("ada", "lobby")
    await ada.say("press me")
    await ada.sees("press me")
    box = await ada.texts.first.bounding_box()
    assert box is not None
    session = await ada.page.context.new_cdp_session(ada.page)
    point = {"x": box["x"] + 10, "y": box["y"] + 10}
    await session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
    sheet = ada.page.get_by_test_id("sheet")
    await expect(sheet).to_be_visible()
    await session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    await sheet.get_by_role("button", name="thumbs up").tap()
    await expect(sheet).to_be_hidden()
    await expect(ada.page.get_by_test_id("chip")).to_have_attribute("aria-pressed", "true")
