"""Takes the pictures of the page that the documentation shows.

``python -m docs.pictures`` writes them into ``docs/images``: the real page before a real server
and proxy, on free ports. It takes a Chromium, by Playwright, and a font of emoji. What is said is
in `docs.scene`; only the times are not the server's, or each picture would show another hour.
"""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal

import aiohttp
from playwright.async_api import (
    Browser,
    Page,
    ViewportSize,
    WebSocketRoute,
    async_playwright,
    expect,
)

import chat
import proxy
from docs.scene import COURSE, NAMES, NOW, SCENES, SELF, WALK, Said, Scene

IMAGES: Final = Path(__file__).parent / "images"
_WIDE: Final = (1280, 800)
_PHONE: Final = (390, 844)
_TIMES: Final = {scene.id: scene.times() for scene in SCENES}
_TYPES_EACH_SECONDS: Final = 3.1
_REMEMBER: Final = """([identity, settings]) => {
  localStorage.setItem('chat.identity', JSON.stringify(identity));
  localStorage.setItem('chat.settings', JSON.stringify(settings));
}"""


@dataclass(frozen=True)
class Picture:
    """A picture to take.

    Attributes:
        name: its file.
        scene: the room that is open.
        size: of the window, in CSS pixels.
        scale: pixels of the picture for one of them.
        colours: the scheme that the user's system has.
        locale: the language that the browser asks for.
        sheet: whether the list of those who are here is open.
    """

    name: str
    scene: Scene = WALK
    size: tuple[int, int] = _WIDE
    scale: float = 1.5
    colours: Literal["light", "dark"] = "light"
    locale: str = "en-GB"
    sheet: bool = False


PICTURES: Final = (
    Picture("page.png"),
    Picture("phone.png", size=_PHONE, scale=2),
    Picture("dark.png", scale=1.25, colours="dark", sheet=True),
    Picture("french.png", COURSE, locale="fr-FR"),
)


@dataclass
class Person:
    """A user at a WebSocket."""

    id: str
    socket: aiohttp.ClientWebSocketResponse
    _numbers: Any = field(default_factory=count)

    async def ask(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Sends a frame, and waits for its answer.

        Raises:
            RuntimeError: the answer is an error.
        """
        request_id = str(next(self._numbers))
        await self.socket.send_json({"request_id": request_id, **payload})
        while True:
            frame: dict[str, Any] = await self.socket.receive_json()
            if frame.get("request_id") != request_id:
                continue
            if "error" in frame:
                raise RuntimeError(f"{payload}: {frame['error']['message']}")
            return frame


async def take() -> None:
    """Takes them all."""
    async with AsyncExitStack() as stack:
        config = chat.Config(host="127.0.0.1", port=0, database=chat.IN_MEMORY)
        server = await stack.enter_async_context(chat.serve(config))
        running = await stack.enter_async_context(
            proxy.serve(proxy.Config(host="127.0.0.1", port=0, upstream=server.address))
        )
        session = await stack.enter_async_context(aiohttp.ClientSession())
        people = {
            user_id: Person(
                user_id, await stack.enter_async_context(session.ws_connect(running.url))
            )
            for user_id in NAMES
        }
        for person in people.values():
            name = {"user_id": person.id, "name": NAMES[person.id]}
            await person.ask({"upsert_user": name})
        for scene in SCENES:
            await _play(scene, people)
        # Whose page it is comes by the page alone.
        await people.pop(SELF).socket.close()
        browser = await stack.enter_async_context(_browser())
        for picture in PICTURES:
            await _take(picture, browser, running.url, people)


async def _play(scene: Scene, people: dict[str, Person]) -> None:
    room = {"id": scene.id, "title": scene.title, "topic": scene.topic}
    await people[SELF].ask({"set_room": {"room": room}})
    for seq, said in enumerate(scene.messages, start=1):
        await _say(scene.id, seq, said, people)
    read = {"room_id": scene.id, "seq": len(scene.messages) - scene.unread, "user_id": SELF}
    await people[SELF].ask({"mark_read": read})
    for user_id, person in people.items():
        await person.ask({"leave": {"room_id": scene.id}})
        if user_id in scene.here:
            await person.ask({"join": {"room_id": scene.id, "user_id": user_id}})


async def _say(room_id: str, seq: int, said: Said, people: dict[str, Person]) -> None:
    extra = {
        **({"reply_to": said.answers} if said.answers else {}),
        **({"mentions": list(said.mentions)} if said.mentions else {}),
    }
    message = {
        "id": f"{room_id}-{seq}",
        "room_id": room_id,
        "sender_id": said.sender,
        "content": said.before or said.text,
        **({"extra": extra} if extra else {}),
    }
    await people[said.sender].ask({"chat_message": message})
    changes: list[tuple[str, dict[str, Any]]] = [
        (user_id, {"react": emoji})
        for emoji, user_ids in said.reactions.items()
        for user_id in user_ids
    ]
    if said.before:
        changes.append((said.sender, {"content": said.text}))
    if said.pinned:
        changes.append((said.sender, {"pinned": True}))
    for user_id, change in changes:
        asked = {"room_id": room_id, "seq": seq, "user_id": user_id, **change}
        await people[user_id].ask({"change_message": asked})


@asynccontextmanager
async def _browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox"] if os.geteuid() == 0 else [],
        )
        yield browser
        await browser.close()


async def _take(picture: Picture, browser: Browser, url: str, people: dict[str, Person]) -> None:
    width, height = picture.size
    context = await browser.new_context(
        viewport=ViewportSize(width=width, height=height),
        device_scale_factor=picture.scale,
        has_touch=width == _PHONE[0],
        color_scheme=picture.colours,
        locale=picture.locale,
        timezone_id="UTC",
        reduced_motion="reduce",
        service_workers="block",
    )
    async with context:
        page = await context.new_page()
        await page.clock.set_fixed_time(NOW)
        await page.route_web_socket(url.replace("http", "ws", 1), _set_times)
        identity = {"id": SELF, "name": NAMES[SELF], "told": True}
        rooms = [{"id": scene.id} for scene in SCENES]
        remembered = [identity, {"current": picture.scene.id, "rooms": rooms}]
        await page.add_init_script(f"({_REMEMBER})({json.dumps(remembered)})")
        await page.goto(url)
        typing = asyncio.create_task(_type(picture.scene, people))
        try:
            await _settle(page, picture)
            await page.screenshot(path=IMAGES / picture.name, animations="disabled")
        finally:
            typing.cancel()
            await asyncio.wait([typing])


async def _settle(page: Page, picture: Picture) -> None:
    """Waits until all that a picture shows is there."""
    scene = picture.scene
    await expect(page.get_by_test_id("room-title")).to_have_text(scene.title)
    await expect(page.get_by_test_id("message")).to_have_count(len(scene.messages))
    await expect(page.get_by_test_id("here")).to_contain_text(NAMES[scene.here[0]])
    await expect(page.get_by_test_id("typists")).to_contain_text(NAMES[scene.typist])
    unread = sum(each.unread > 0 for each in SCENES)
    counts = page.get_by_test_id("unread-count").filter(visible=True)
    await expect(counts).to_have_count(0 if picture.size == _PHONE else unread)
    if picture.sheet:
        await page.get_by_test_id("here").click()
        await expect(page.get_by_test_id("member")).not_to_have_count(0)


async def _type(scene: Scene, people: dict[str, Person]) -> None:
    while True:
        typing = {"room_id": scene.id, "user_id": scene.typist}
        await people[scene.typist].socket.send_json({"typing": typing})
        await asyncio.sleep(_TYPES_EACH_SECONDS)


def _set_times(socket: WebSocketRoute) -> None:
    """Gives what the page is told the times of the scenes."""
    server = socket.connect_to_server()

    def tell(text: str | bytes) -> None:
        frame = json.loads(text)
        _set(frame)
        socket.send(json.dumps(frame))

    server.on_message(tell)


def _set(part: Any) -> None:
    if isinstance(part, list):
        for each in part:
            _set(each)
    elif isinstance(part, dict):
        if "sent_at" in part:
            sent_at = _TIMES[part["room_id"]][part["seq"]]
            part["sent_at"] = sent_at.isoformat().replace("+00:00", "Z")
        for each in part.values():
            _set(each)


if __name__ == "__main__":
    asyncio.run(take())
