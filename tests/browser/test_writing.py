"""Writing in the page: marked texts, long ones, what is dropped or pasted, keys, and copies."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pytest
from playwright.async_api import expect

import chat

if TYPE_CHECKING:
    from tests.browser.conftest import Servers, Visit, Visitor

_MARKED: Final = """see **this**, _that_ and `x < y`:
```js
const answer = 42; // https://a.example
```
> quoted
- one
- <b>two</b>"""
# What a drop or a paste brings, as a file manager, another window or a word processor gives it.
_BRING: Final = """([kind, target, files, text]) => {
  const data = new DataTransfer();
  for (const name of files) data.items.add(new File(['x'], name, { type: 'image/png' }));
  if (text) data.setData('text/plain', text);
  const options = { bubbles: true, cancelable: true };
  const event = kind === 'paste'
    ? new ClipboardEvent('paste', { ...options, clipboardData: data })
    : new DragEvent(kind, { ...options, dataTransfer: data });
  document.querySelector(target).dispatchEvent(event);
  return event.defaultPrevented;
}"""

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def database() -> str:
    return chat.IN_MEMORY


async def bring(
    visitor: Visitor, kind: str, target: str, *, files: tuple[str, ...] = (), text: str = ""
) -> bool:
    """Drops or pastes something, and returns whether the page kept it from the browser."""
    return bool(await visitor.page.evaluate(_BRING, [kind, target, list(files), text]))


async def test_marked_texts_are_elements(visit: Visit) -> None:
    ada = await visit(permissions=["clipboard-read", "clipboard-write"])
    await ada.enter("ada", "lobby")
    await ada.say(_MARKED)
    text = ada.texts.first
    for selector, words in {
        "strong": "this",
        "em": "that",
        ".words code": "x < y",
        "pre code": "const answer = 42; // https://a.example",
        "blockquote": "quoted",
        "li": ["one", "<b>two</b>"],
    }.items():
        await expect(text.locator(selector)).to_have_text(words)
    await expect(text.locator("b, a")).to_have_count(0)
    await text.get_by_role("button", name="Copy").click()
    await expect(ada.page.get_by_test_id("toast")).to_contain_text("Copied.")
    assert await _clipboard(ada) == "const answer = 42; // https://a.example"

    await ada.say("**open and www.example.org")
    await expect(ada.texts.last).to_have_text("**open and www.example.org")
    link = ada.texts.last.get_by_role("link")
    await expect(link).to_have_attribute("href", "https://www.example.org/")

    await ada.messages.first.hover()
    await ada.page.get_by_test_id("bar-more").click()
    await ada.page.get_by_role("menuitem", name="View source").click()
    source = ada.page.get_by_test_id("source")
    assert await source.locator("pre").text_content() == _MARKED
    await ada.page.keyboard.press("Escape")
    await expect(source).to_be_hidden()

    # Several messages are copied with who said them, and when.
    await ada.page.evaluate(
        "() => getSelection().selectAllChildren(document.getElementById('messages'))"
    )
    await ada.page.keyboard.press("Control+c")
    clock = r"\[\d\d:\d\d\] ada: "
    copied = await _clipboard(ada)
    lines = [re.escape("**open and www.example.org"), re.escape(_MARKED)]
    assert re.search(f"{clock}{lines[1]}\n{clock}{lines[0]}$", copied), copied


async def test_long_text_is_sent_as_several_messages(visit: Visit) -> None:
    ada = await visit()
    await ada.enter("ada", "lobby")
    first, second = "é" * 8000, "x" * 3000
    await ada.input.fill(f"{first}\n{second}")
    problem = ada.page.get_by_test_id("message-problem")
    await expect(problem).to_have_text("2,617 characters too long.")
    split = ada.page.get_by_test_id("message-split")
    await expect(split).to_have_text("Send as 2 messages")
    await split.click()
    await ada.sees(first, second)
    await expect(ada.input).to_be_focused()
    await expect(ada.input).to_have_value("")
    await expect(problem).to_be_hidden()
    await expect(split).to_be_hidden()
    # What is far too long is not offered, and not measured for each key.
    await ada.input.fill("word " * 52_000)
    await expect(problem).to_have_text("243,615 characters too long.")
    await expect(split).to_be_hidden()


async def test_what_comes_beside_the_field(visit: Visit, servers: Servers) -> None:
    await servers.post("lobby", "bob", [f"number {i}" for i in range(1, 41)])
    ada = await visit()
    await ada.enter("ada", "lobby")
    address = ada.page.url
    problem = ada.page.get_by_test_id("message-problem")
    for kind, target in (("dragover", "#log"), ("drop", "#log"), ("drop", "#message-input")):
        assert await bring(ada, kind, target, files=("photo.png",)), (kind, target)
    await expect(problem).to_have_text("Only text can be sent.")
    assert ada.page.url == address
    await ada.input.press_sequentially("a")
    await expect(problem).to_be_hidden()
    assert await bring(ada, "paste", "#message-input", files=("photo.png",))
    await expect(problem).to_be_visible()
    # Words beside a picture are words; the field takes them on its own.
    assert not await bring(ada, "paste", "#message-input", files=("p.png",), text="w")
    assert not await bring(ada, "drop", "#message-input", text="w")
    assert await bring(ada, "drop", "#log", text=" dropped")
    assert await bring(ada, "paste", "body", text=" pasted")
    await expect(ada.input).to_have_value("a dropped pasted")

    await ada.input.fill("")
    top: Any = await ada.log.evaluate("log => log.scrollTop")
    await ada.page.keyboard.press("PageUp")
    await expect(ada.message("number 40")).not_to_be_in_viewport()
    assert await ada.log.evaluate("log => log.scrollTop") < top
    await expect(ada.input).to_be_focused()
    await ada.page.keyboard.press("Escape")
    await expect(ada.message("number 40")).to_be_in_viewport()
    # One who clicked at a message and types means to write, also the letters of actions.
    await ada.message("number 39").get_by_test_id("message-text").click()
    await expect(ada.input).not_to_be_focused()
    await ada.page.keyboard.type("ready?")
    await expect(ada.input).to_have_value("ready?")


async def test_fingers_send_by_the_button(visit: Visit, servers: Servers) -> None:
    name = "W" * 64
    await servers.post("lobby", name, ["hi" + "\u0300\u0301\u0302\u0303" * 40])
    ada = await visit(size=(390, 700), has_touch=True, is_mobile=True)
    await ada.enter("ada", "lobby")
    await ada.input.fill("one")
    await ada.page.keyboard.press("End")
    await ada.page.keyboard.press("Enter")
    await ada.page.keyboard.type("two")
    await expect(ada.input).to_have_value("one\ntwo")
    await expect(ada.messages).to_have_count(1)
    await ada.page.get_by_test_id("send-button").click()
    await expect(ada.texts.last).to_have_text("one\ntwo")
    # A long name is cut, and small things are as large as a finger.
    sender = await ada.messages.first.get_by_test_id("message-sender").bounding_box()
    assert sender is not None
    assert sender["height"] < 40
    small = await ada.page.evaluate(
        """() => [...document.querySelectorAll('button')].filter((button) => {
            const { width, height } = button.getBoundingClientRect();
            const isSeen = !button.classList.contains('visually-hidden') && width > 1;
            return isSeen && (width < 40 || height < 40);
        }).map((button) => button.outerHTML.slice(0, 90))"""
    )
    assert small == []


async def _clipboard(visitor: Visitor) -> str:
    text: str = await visitor.page.evaluate("() => navigator.clipboard.readText()")
    return text
