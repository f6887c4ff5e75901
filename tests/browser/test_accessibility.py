"""The page by the rules of axe-core, in each of the states that it can be in.

axe reads the page as a screen reader gets it: names, roles, contrast. One page is led through the
states, first in light, then in dark, and a phone's through those that look otherwise there. What
no rule can judge, such as where the focus goes, test_access.py tests.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest
from playwright.async_api import expect

import chat
from tests.network import npm_packages

if TYPE_CHECKING:
    from playwright.async_api import Locator

    from tests.browser.conftest import Servers, Visit, Visitor

_SOURCES: Final = Path(__file__).parent / "axe"
# The first run installs axe-core.
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

_ALL: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
# Dark differs from light in nothing else.
_COLOURS: Final = ("color-contrast", "link-in-text-block")
_CHECK: Final = """async (rules) => {
  // Transitions have colours in between.
  for (const animation of document.getAnimations()) animation.finish();
  const options = { resultTypes: ['violations'], runOnly: rules };
  const { violations } = await axe.run(document, options);
  return violations.flatMap(({ id, help, nodes }) =>
    nodes.map((node) => `${id}: ${help}: ${node.html.slice(0, 200)}: ${node.failureSummary}`));
}"""


@pytest.fixture
def database() -> str:
    return chat.IN_MEMORY


@pytest.fixture(scope="module")
def axe(request: pytest.FixtureRequest) -> str:
    """The program that a page is checked with."""
    folder = npm_packages(_SOURCES, request, "the page's accessibility")
    return (folder / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")


class Inspector:
    """Collects what is wrong with a page in each of its states."""

    def __init__(
        self, visitor: Visitor, program: str, appearance: str, rules: tuple[str, ...] = _ALL
    ) -> None:
        self.appearance = appearance
        self.rules = rules
        self.found: list[str] = []
        self._page = visitor.page
        self._program = program

    async def check(self, state: str) -> None:
        """Checks the page as it stands."""
        if not await self._page.evaluate("'axe' in window"):
            # Not as an element of the page: its policy forbids scripts in it.
            await self._page.evaluate(self._program)
        found = await self._page.evaluate(_CHECK, list(self.rules))
        self.found += [f"{self.appearance}, {state}: {one}" for one in found]


async def _write(servers: Servers, frames: list[dict[str, Any]]) -> None:
    """Sends frames as a program, each after the reply to the one before."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(servers.url) as socket,
    ):
        for frame in frames:
            await socket.send_json(frame)
            reply = await socket.receive_json()
            assert "error" not in reply, reply


async def _fill(servers: Servers) -> None:
    """Fills a room with a message of each kind."""

    def say(content: str, sender: str = "bob", **extra: Any) -> dict[str, Any]:
        message = {"room_id": "lobby", "sender_id": sender, "content": content}
        return {"chat_message": message | ({"extra": extra} if extra else {})}

    def change(seq: int, user: str, **what: Any) -> dict[str, Any]:
        return {"change_message": {"room_id": "lobby", "seq": seq, "user_id": user} | what}

    said = [
        say("plain, with an address: https://example.org/"),
        say("mine", "ada"),
        say("as it was"),
        say("as it was", "ada"),
        say("gone"),
        say("an answer", "cleo", reply_to=1),
        say("Look @ada", mentions=["ada"]),
        say("The rules"),
        say("**Steps**\n- _one_\n- `two`\n\n> as said\n```\n" + "long code " * 30 + "\n```"),
        say("long\n" * 40),
    ]
    changes = [
        change(3, "bob", content="as it is"),
        change(4, "ada", content="as it is"),
        change(5, "bob", delete={}),
        *(change(1, user, react="👍") for user in ("ada", "bob", "cleo")),
        change(1, "bob", react="🚀"),
        change(8, "ada", pinned=True),
    ]
    await _write(servers, said)
    await _write(servers, changes)


async def _inspect_room(ada: Visitor, inspector: Inspector) -> None:
    """Opens in turn what a message and the composer have, and closes it again."""
    page, check = ada.page, inspector.check
    plain = ada.messages.first
    await expect(plain.get_by_test_id("chip")).to_have_count(2)
    await check("room")

    await plain.hover()
    await page.get_by_test_id("bar-more").click()
    await expect(page.get_by_test_id("message-menu")).to_be_visible()
    await check("menu")
    await page.keyboard.press("Escape")

    await plain.hover()
    await page.get_by_test_id("bar-react").click()
    await expect(page.get_by_test_id("picker")).to_be_visible()
    await check("picker")
    await page.keyboard.press("Escape")

    await plain.hover()
    await page.get_by_test_id("bar-reply").click()
    await expect(page.get_by_test_id("context")).to_contain_text("Reply to bob")
    await check("replying")
    await ada.input.press("Escape")

    await _choose(ada, ada.messages.filter(has_text="Steps"), "View source")
    await expect(page.get_by_test_id("source")).to_be_visible()
    await check("source")
    await page.keyboard.press("Escape")

    await ada.input.fill("many words " * 2_000)
    await expect(page.get_by_test_id("message-split")).to_be_visible()
    await check("too long")
    await ada.input.fill("")

    await page.get_by_test_id("bell").click()
    await expect(page.get_by_test_id("bell-box")).to_be_visible()
    await check("bell")
    await page.keyboard.press("Escape")

    mine = ada.message("mine")
    await _choose(ada, mine, "Edit")
    await expect(page.get_by_test_id("context")).to_contain_text("Editing")
    await check("editing")
    await ada.input.press("Escape")

    await _choose(ada, mine, "Delete")
    await expect(page.get_by_test_id("confirm")).to_be_visible()
    await check("delete dialog")
    await page.keyboard.press("Escape")

    await ada.input.press_sequentially("@b")
    await expect(page.get_by_role("option", name="bob")).to_be_visible()
    await check("mention list")
    await ada.input.press("Escape")
    await ada.input.fill("")

    await page.get_by_test_id("pins-button").click()
    await expect(page.get_by_test_id("pins")).to_be_visible()
    await check("pins")
    await page.keyboard.press("Escape")
    await _inspect_rooms(ada, inspector)


async def _inspect_rooms(ada: Visitor, inspector: Inspector) -> None:
    """Opens what a room has, and the list of rooms; leaves the room, and comes back."""
    page, check = ada.page, inspector.check
    await page.get_by_test_id("room-menu-button").click()
    await check("room menu")
    await page.get_by_test_id("go-date-button").click()
    await check("a date to go to")
    await page.keyboard.press("Escape")
    await page.get_by_test_id("room-menu-button").click()
    await page.get_by_test_id("room-info-button").click()
    await check("title and topic")
    await page.keyboard.press("Escape")

    await page.keyboard.press("Control+k")
    await expect(page.get_by_test_id("choice").first).to_be_visible()
    await check("rooms")
    await ada.room.fill("another")
    await expect(page.get_by_test_id("choice").first).to_have_text("Create “another”")
    await check("a room to be made")
    await page.keyboard.press("Escape")

    await ada.leave()
    # It stays for whoever reaches for its button.
    await page.get_by_test_id("toast").hover()
    await check("no room")
    await page.get_by_test_id("toast-button").click()
    await ada.is_in("lobby")

    await page.get_by_test_id("here").click()
    await expect(page.get_by_test_id("member").first).to_be_visible()
    await check("people")
    await page.keyboard.press("Escape")

    await page.get_by_test_id("profile-button").click()
    await expect(page.get_by_test_id("profile")).to_be_visible()
    await check("profile")
    await page.keyboard.press("Escape")


async def _choose(visitor: Visitor, message: Locator, action: str) -> None:
    await message.hover()
    await message.get_by_test_id("bar-more").click()
    await visitor.page.get_by_role("menuitem", name=action).click()


async def _inspect_news(ada: Visitor, inspector: Inspector) -> None:
    await expect(ada.page.get_by_test_id("pill")).to_be_visible()
    await expect(ada.page.get_by_test_id("new-mark")).to_be_visible()
    await inspector.check("unread messages")


async def _inspect_offline(ada: Visitor, inspector: Inspector) -> None:
    await ada.page.context.set_offline(offline=True)
    await expect(ada.banner).to_be_visible()
    await ada.say("written offline")
    await inspector.check("offline")
    await ada.page.context.set_offline(offline=False)


async def _inspect_phone(visit: Visit, program: str) -> list[str]:
    looks = {"color_scheme": "dark", "reduced_motion": "reduce"}
    ada = await visit(size=(390, 780), has_touch=True, is_mobile=True, **looks)
    phone = Inspector(ada, program, "phone")
    await phone.check("entry dialog")
    await ada.name.fill("Bob")
    await ada.page.get_by_test_id("enter-button").click()
    await expect(ada.page.get_by_test_id("name-taken")).to_be_visible()
    await phone.check("name of another")
    await ada.enter("ada", "lobby")
    await phone.check("room")
    await ada.page.get_by_test_id("menu-button").click()
    await expect(ada.room_item("lobby")).to_be_in_viewport()
    await phone.check("drawer")
    await ada.page.get_by_test_id("join-button").click()
    await expect(ada.page.get_by_test_id("choice").first).to_be_visible()
    await phone.check("rooms")
    await ada.page.keyboard.press("Escape")
    await ada.page.keyboard.press("Escape")
    await ada.message("mine").get_by_role("button", name="Message actions").dispatch_event("click")
    await expect(ada.page.get_by_test_id("sheet")).to_be_visible()
    await phone.check("sheet")
    await ada.page.keyboard.press("Escape")
    await ada.page.get_by_test_id("here").click()
    await expect(ada.page.get_by_test_id("member").first).to_be_visible()
    await phone.check("people")
    # Else it would read the news that the other device is to find.
    await ada.page.close()
    return phone.found


async def test_page_keeps_the_rules(visit: Visit, servers: Servers, axe: str) -> None:
    await _fill(servers)
    on_phone = await _inspect_phone(visit, axe)
    ada = await visit(color_scheme="light", reduced_motion="reduce")
    light = Inspector(ada, axe, "light")
    await light.check("entry dialog")
    await ada.enter("ada", "lobby")
    await _inspect_room(ada, light)

    dark = Inspector(ada, axe, "dark", _COLOURS)
    await ada.page.emulate_media(color_scheme="dark")
    await _inspect_room(ada, dark)

    # Back in the room that has news since.
    await ada.page.evaluate("location.hash = '#ops'")
    await ada.is_in("ops")
    await dark.check("empty room")
    await servers.post("lobby", "bob", [f"news {i}" for i in range(1, 26)])
    count = ada.room_item("lobby").get_by_test_id("unread-count")
    await expect(count).to_have_text("25")
    await ada.room_item("lobby").click()
    await ada.is_in("lobby")
    await ada.page.get_by_test_id("jump-button").click()
    await _inspect_news(ada, dark)
    await ada.page.emulate_media(color_scheme="light")
    await _inspect_news(ada, light)
    await _inspect_offline(ada, light)
    found = on_phone + light.found + dark.found
    assert not found, "\n".join(found)
