"""Several tabs of one browser, and a storage with any content."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Visitor

if TYPE_CHECKING:
    from tests.browser.conftest import Servers, Visit

# They share one browser.
pytestmark = pytest.mark.asyncio(loop_scope="session")

_HALF: Final = "\ud83d"
_MESSAGE: Final = {
    "id": "i",
    "room_id": "lobby",
    "sender_id": "ada",
    "content": "kept",
    "created": "2024-01-01T12:00:00Z",
    "state": "failed",
    "error": "",
}
_FILL_STORAGE: Final = """([local, session]) => {
  for (const [key, value] of Object.entries(local)) localStorage.setItem(key, value);
  for (const [key, value] of Object.entries(session)) sessionStorage.setItem(key, value);
}"""


async def _open_beside(visitor: Visitor, address: str) -> Visitor:
    """Opens one more tab of the same browser."""
    page = await visitor.page.context.new_page()
    await page.goto(urljoin(visitor.page.url, address))
    return Visitor(page)


async def test_tabs_share_their_rooms(visit: Visit) -> None:
    one = await visit()
    await one.enter("ada", "lobby")
    two = await _open_beside(one, "#lobby")
    await two.is_in("lobby")
    await one.page.evaluate("location.hash = '#alpha'")
    await two.page.evaluate("location.hash = '#beta'")
    for tab in (one, two, await _open_beside(one, "/")):
        for room in ("lobby", "alpha", "beta"):
            await expect(tab.room_item(room)).to_have_count(1)
    await one.page.get_by_test_id("rename-button").click()
    await one.name.fill("Lady Ada")
    await one.page.get_by_test_id("enter-button").click()
    await expect(two.page.get_by_test_id("self")).to_have_text("Lady Ada")
    await one.leave()
    for tab in (one, two):
        await expect(tab.room_item("alpha")).to_have_count(0)
    await two.page.reload()
    await expect(two.room_item("lobby")).to_have_count(1)
    await expect(two.room_item("alpha")).to_have_count(0)


async def test_room_with_draft_stays_open(
    visit: Visit,
) -> None:
    one = await visit()
    await one.enter("ada", "lobby")
    two = await _open_beside(one, "#lobby")
    await two.is_in("lobby")
    await two.input.fill("half a thought")
    three = await _open_beside(one, "#ops")
    await three.is_in("ops")
    await three.room_item("lobby").click()
    await three.leave()
    await expect(one.room_item("lobby")).to_have_count(0)
    await expect(two.room_item("ops")).to_have_count(1)
    await expect(two.input).to_have_value("half a thought")
    await two.page.get_by_test_id("send-button").click()
    await two.sees("half a thought")


async def test_read_mark_is_shared_by_tabs(visit: Visit, servers: Servers) -> None:
    one = await visit()
    await one.enter("ada", "lobby")
    two = await _open_beside(one, "#ops")
    await two.is_in("ops")
    await servers.post("lobby", "ben", ["news"])
    await one.page.bring_to_front()
    await one.sees("news")
    await expect(two.room_item("lobby").get_by_test_id("unread-count")).to_be_hidden()


async def test_second_window_is_another_user(visit: Visit) -> None:
    ada = await visit()
    await ada.enter("ada", "lobby")
    async with ada.page.context.expect_page() as opened:
        await ada.page.get_by_test_id("second-link").click()
    ben = Visitor(await opened.value)
    await expect(ben.room).to_have_value("lobby")
    await ben.enter("ben", "lobby")
    await ben.say("Hello, ada")
    await ada.sees("Hello, ada")
    await ada.say("Hello, ben")
    for tab, name in ((ada, "ada"), (ben, "ben")):
        await tab.page.reload()
        await tab.sees("Hello, ada", "Hello, ben")
        await expect(tab.page.get_by_test_id("self")).to_have_text(name)
    carl = await _open_beside(ada, "/?as=carl#lobby")
    await carl.sees("Hello, ada", "Hello, ben")
    await expect(carl.page.get_by_test_id("self")).to_have_text("carl")
    assert carl.page.url.endswith("/#lobby")
    again = await _open_beside(ada, "/#lobby")
    await expect(again.page.get_by_test_id("self")).to_have_text("ada")


@pytest.mark.parametrize(
    ("local", "session"),
    [
        pytest.param({"chat.settings": "{"}, {"chat.outbox": "{"}, id="no JSON"),
        pytest.param({"chat.settings": "[null]"}, {"chat.outbox": "{}"}, id="other shapes"),
        pytest.param(
            {"chat.settings": {"name": "ada", "current": _HALF, "rooms": [{"id": _HALF}]}},
            {},
            id="half a character names a room",
        ),
        pytest.param(
            {"chat.room.x": {"id": "x", "epoch": _HALF, "readSeq": 1e300, "order": _HALF}},
            {"chat.name": _HALF},
            id="half a character is the name",
        ),
        pytest.param({}, {"chat.outbox": [{**_MESSAGE, "room_id": _HALF}]}, id="to nowhere"),
        pytest.param({}, {"chat.outbox": [{**_MESSAGE, "created": "then"}]}, id="at no time"),
        pytest.param({}, {"chat.outbox": [{**_MESSAGE, "error": 7}]}, id="odd problem"),
    ],
)
async def test_page_starts_with_any_storage(
    visit: Visit, local: dict[str, Any], session: dict[str, Any]
) -> None:
    ada = await visit()
    stored = [
        {key: value if isinstance(value, str) else json.dumps(value) for key, value in each.items()}
        for each in (local, session)
    ]
    await ada.page.add_init_script(f"({_FILL_STORAGE})({json.dumps(stored)})")
    await ada.page.reload()
    await ada.enter("ada", "lobby")
    await ada.say("still here")
    await expect(ada.message("still here")).to_have_attribute("data-state", "sent")
