"""Accessibility: small screens, keyboards, screen readers, light and dark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from playwright.async_api import Locator, expect

if TYPE_CHECKING:
    from tests.browser.conftest import Servers, Visit, Visitor

# They share one browser.
pytestmark = pytest.mark.asyncio(loop_scope="session")

_PHONE: Final = (390, 780)
_CONTROLS: Final = {"button", "link", "textbox", "combobox", "checkbox", "dialog", "log", "img"}

# The ratio of WCAG 2.2, success criterion 1.4.3, of each text that is in view. A
# canvas turns whatever notation a colour has into bytes.
_LOW_CONTRAST: Final = """() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const bytes = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (colour) => {
    const [r, g, b] = colour.map((byte) => byte / 255)
      .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = bytes(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    throw new Error('no ground');
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const { width, height } = element.getBoundingClientRect();
    const isSeen = element.checkVisibility() && width * height > 4;
    if (!isSeen || !walker.currentNode.data.trim()) continue;
    const [a, b] = [bytes(getComputedStyle(element).color), ground(element)].map(luminance);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${walker.currentNode.data.trim()}: ${ratio.toFixed(2)}`);
  }
  return poor;
}"""


class TestNarrowScreen:
    """A phone, where the rooms are in a drawer."""

    async def test_drawer_opens_and_closes(self, visit: Visit) -> None:
        ada = await visit(size=_PHONE)
        await ada.enter("ada", "lobby")
        menu, item = ada.page.get_by_test_id("menu-button"), ada.room_item("lobby")
        await expect(item).not_to_be_in_viewport()
        await menu.click()
        await expect(item).to_be_in_viewport()
        await expect(item).to_be_focused()
        await expect(menu).to_have_attribute("aria-expanded", "true")
        await ada.page.keyboard.press("Escape")
        await expect(item).not_to_be_in_viewport()
        await expect(menu).to_be_focused()

    async def test_room_is_chosen_from_drawer(self, visit: Visit, servers: Servers) -> None:
        ada = await visit(size=_PHONE)
        await ada.enter("ada", "lobby")
        await ada.page.get_by_test_id("menu-button").click()
        await ada.page.get_by_test_id("join-button").click()
        await ada.room.fill("ops")
        await ada.page.get_by_test_id("enter-button").click()
        await ada.is_in("ops")
        await servers.post("lobby", "bob", ["psst"])
        menu = ada.page.get_by_role("button", name="Rooms, 1 unread")
        await menu.click()
        await ada.room_item("lobby").click()
        await ada.sees("psst")
        await expect(ada.room_item("lobby")).not_to_be_in_viewport()

    @pytest.mark.parametrize("width", [320, 390, 720, 721])
    async def test_narrow_page_never_overflows(
        self, visit: Visit, servers: Servers, width: int
    ) -> None:
        texts = ["x" * 500, "https://example.org/" + "y" * 300, "a b " * 900, "\n" * 60 + "end"]
        await servers.post("r" * 64, "n" * 64, texts)
        ada = await visit(size=(width, 700))
        await ada.enter("m" * 64, "r" * 64)
        await ada.say("z" * 400)
        await expect(ada.messages).to_have_count(5)
        for scrolled in (ada.page.locator("html"), ada.log):
            assert await scrolled.evaluate("e => e.scrollWidth - e.clientWidth") == 0
        await expect(ada.page.get_by_test_id("send-button")).to_be_in_viewport(ratio=1)


async def test_keyboard_is_enough(visit: Visit) -> None:
    ada = await visit()
    press, write = ada.page.keyboard.press, ada.page.keyboard.type
    await expect(ada.name).to_be_focused()
    await press("Escape")
    await write("ada")
    await press("Tab")
    await write("lobby")
    await press("Enter")
    await ada.is_in("lobby")
    await expect(ada.input).to_be_focused()
    await write("first line")
    await press("Shift+Enter")
    await write("second line")
    await press("Enter")
    await expect(ada.texts).to_have_text(["first line\nsecond line"], use_inner_text=True)
    await expect(ada.input).to_be_empty()

    await _tab_to(ada, ada.page.get_by_test_id("join-button"))
    await press("Enter")
    await expect(ada.room).to_be_focused()
    await press("Escape")
    await expect(ada.page.get_by_test_id("entry")).to_be_hidden()
    await press("Enter")
    await write("ops")
    await press("Enter")
    await ada.is_in("ops")
    await press("Alt+ArrowUp")
    await ada.is_in("lobby")
    await press("Alt+ArrowDown")
    await ada.is_in("ops")
    await _tab_to(ada, ada.room_item("lobby"))
    await press("Enter")
    await ada.is_in("lobby")


async def test_focus_is_visible(visit: Visit) -> None:
    ada = await visit()
    await ada.enter("ada", "lobby")
    for control in (ada.page.get_by_test_id("room-menu-button"), ada.room_item("lobby"), ada.log):
        await _tab_to(ada, control)
        assert await control.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"


async def test_controls_have_names(visit: Visit, servers: Servers) -> None:
    await servers.post("lobby", "bob", [f"number {i}" for i in range(60)])
    ada = await visit(size=_PHONE)
    entry = await _controls(ada)
    assert {("textbox", "Your name"), ("combobox", "Room"), ("button", "Enter")} <= entry
    await ada.enter("ada", "lobby")
    room = await _controls(ada)
    assert {("log", "Messages"), ("textbox", "Message"), ("button", "Send")} <= room
    await ada.page.get_by_test_id("menu-button").click()
    drawer = await _controls(ada)
    assert {("link", "lobby"), ("button", "Close rooms"), ("button", "Join a room")} <= drawer
    for _, name in entry | room | drawer:
        assert name


async def test_landmarks_and_headings(visit: Visit) -> None:
    ada = await visit()
    await ada.enter("ada", "lobby")
    await expect(ada.page.get_by_role("main")).to_have_count(1)
    await expect(ada.page.get_by_role("navigation", name="Rooms")).to_have_count(1)
    await expect(ada.page.get_by_role("heading", level=1)).to_have_text("lobby")
    await expect(ada.room_item("lobby")).to_have_attribute("aria-current", "page")


async def test_live_messages_only_are_announced(visit: Visit, servers: Servers) -> None:
    await servers.post("lobby", "bob", ["long ago"])
    ada = await visit()
    await ada.enter("ada", "lobby")
    await ada.sees("long ago")
    spoken = ada.page.get_by_test_id("announcer")
    await expect(spoken).to_have_attribute("aria-live", "polite")
    await expect(ada.log).to_have_attribute("aria-live", "off")
    await ada.say("mine")
    await servers.post("lobby", "bob", ["just now"])
    await expect(spoken).to_have_text("bob: just now")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_has_enough_contrast(visit: Visit, servers: Servers, scheme: str) -> None:
    await servers.post("lobby", "bob", ["hello https://example.org"])
    for index in range(12):
        await servers.post("lobby", f"guest {index}", ["hello"])
    ada = await visit(color_scheme=scheme)
    assert await ada.page.evaluate(_LOW_CONTRAST) == []
    await ada.enter("ada", "lobby")
    await servers.stop_chat()
    await ada.say("mine")
    await expect(ada.banner).to_be_visible()
    assert await ada.page.evaluate(_LOW_CONTRAST) == []
    await servers.start_chat()
    await expect(ada.banner).to_be_hidden()


async def test_color_scheme_follows_the_reader(visit: Visit) -> None:
    light, dark = await visit(color_scheme="light"), await visit(color_scheme="dark")
    ground = "() => getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    assert min(await light.page.evaluate(ground)) > 200
    assert max(await dark.page.evaluate(ground)) < 60


async def test_right_to_left_text_is_aligned(visit: Visit) -> None:
    ada = await visit()
    await ada.enter("ada", "lobby")
    await ada.say("שלום, עולם")
    text = ada.texts.first
    await expect(text).to_have_attribute("dir", "auto")
    assert await text.evaluate("e => getComputedStyle(e).direction") == "rtl"


async def test_reduced_motion_is_respected(visit: Visit) -> None:
    ada = await visit(size=_PHONE, reduced_motion="reduce")
    await ada.enter("ada", "lobby")
    side = ada.page.get_by_role("complementary", include_hidden=True)
    assert await side.evaluate("e => getComputedStyle(e).transitionDuration") == "0s"


async def _tab_to(visitor: Visitor, control: Locator) -> None:
    """Presses Tab until a control has the focus."""
    for _ in range(30):
        if await control.evaluate("e => e === document.activeElement"):
            return
        await visitor.page.keyboard.press("Tab")
    pytest.fail("the Tab key does not reach it")


async def _controls(visitor: Visitor) -> set[tuple[str, str]]:
    """The controls as assistive technology sees them: role and name."""
    session = await visitor.page.context.new_cdp_session(visitor.page)
    tree: dict[str, Any] = await session.send("Accessibility.getFullAXTree")
    await session.detach()
    nodes = [node for node in tree["nodes"] if not node["ignored"]]
    named = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes]
    return {(role, name) for role, name in named if role in _CONTROLS}
