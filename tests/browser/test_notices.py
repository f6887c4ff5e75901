"""What tells the user of messages while nobody looks at the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from playwright.async_api import expect

import chat

if TYPE_CHECKING:
    from playwright.async_api import Page

    from tests.browser.conftest import Visit

# They share one browser.
pytestmark = pytest.mark.asyncio(loop_scope="session")

# Without a window manager nobody sees a notification: the browser's own constructor is called,
# and what it was given is kept.
_LISTEN: Final = """() => {
  window.told = [];
  const { Notification: Real } = window;
  window.Notification = class extends Real {
    constructor(title, options) {
      super(title, options);
      window.told.push([title, options.body]);
    }
  };
}"""
_LOOK_AWAY: Final = """() => {
  document.hasFocus = () => false;
  dispatchEvent(new Event('blur'));
}"""
_LOOK_BACK: Final = """() => {
  delete document.hasFocus;
  dispatchEvent(new Event('focus'));
}"""
_ICON: Final = "document.querySelector('link[rel=icon]').href"


@pytest.fixture
def database() -> str:
    return chat.IN_MEMORY


async def _told(page: Page, *expected: tuple[str, str]) -> None:
    await page.wait_for_function("count => window.told.length >= count", arg=len(expected))
    assert [tuple(one) for one in await page.evaluate("window.told")] == list(expected)


async def test_user_is_told_while_looking_elsewhere(visit: Visit) -> None:
    ada, ben = await visit(permissions=["notifications"]), await visit()
    await ada.page.evaluate(_LISTEN)
    await ada.enter("ada", "lobby")
    await ben.enter("ben", "lobby")
    await ada.say("I am here")
    await ben.sees("I am here")
    usual = await ada.page.evaluate(_ICON)
    # Who looks is not told.
    await ben.input.press_sequentially("Look @a")
    await ben.page.get_by_role("option", name="ada").click()
    await ben.input.press("Enter")
    await expect(ada.texts).to_have_count(2)
    await ada.page.evaluate(_LOOK_AWAY)
    await ben.say("not for ada")
    await expect(ada.page).to_have_title("(1) lobby · Chat")
    assert await ada.page.evaluate(_ICON) != usual
    await ben.input.press_sequentially("and now @a")
    await ben.page.get_by_role("option", name="ada").click()
    await ben.input.press("Enter")
    await _told(ada.page, ("ben · lobby", "and now @ada"))
    await ada.page.evaluate(_LOOK_BACK)
    await expect(ada.page).to_have_title("lobby · Chat")
    assert await ada.page.evaluate(_ICON) == usual

    # From now on of all, also after a reload.
    await ada.page.get_by_test_id("bell").click()
    await ada.page.get_by_label("All messages").check()
    await expect(ada.page.get_by_test_id("bell-state")).to_contain_text("You are told")
    await ada.page.keyboard.press("Escape")
    await expect(ada.page.get_by_test_id("bell")).to_be_focused()
    await ada.page.reload()
    await ada.is_in("lobby")
    await ada.page.evaluate(_LISTEN)
    await ada.page.evaluate(_LOOK_AWAY)
    await ben.say("to everybody")
    await _told(ada.page, ("ben · lobby", "to everybody"))


async def test_browser_is_asked_only_after_the_user(visit: Visit) -> None:
    ada, ben = await visit(), await visit()
    # A headless browser refuses each question. So it is counted how often it was asked.
    await ada.page.evaluate("""() => {
      window.asked = 0;
      const ask = Notification.requestPermission.bind(Notification);
      Object.defineProperty(Notification, 'permission', { get: () => window.answer ?? 'default' });
      Notification.requestPermission = () => {
        window.asked += 1;
        window.answer = 'denied';
        return ask();
      };
    }""")
    await ada.enter("ada", "lobby")
    await ben.enter("ben", "lobby")
    await ada.say("I am here")
    await ben.sees("I am here")
    question = ada.page.get_by_test_id("bell-question")
    await expect(question).to_be_hidden()
    await ben.input.press_sequentially("Look @a")
    await ben.page.get_by_role("option", name="ada").click()
    await ben.input.press("Enter")
    await expect(question).to_contain_text("ben mentioned you")
    assert await ada.page.evaluate("window.asked") == 0
    await ada.page.get_by_test_id("bell-yes").click()
    await expect(question).to_be_hidden()
    assert await ada.page.evaluate("window.asked") == 1
    await ada.page.get_by_test_id("bell").click()
    await expect(ada.page.get_by_test_id("bell-state")).to_contain_text("blocks notifications")
    await expect(ada.page.get_by_text("How to allow them")).to_be_visible()
