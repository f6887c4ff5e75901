"""The page in French: no state of it says anything in English."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest
from playwright.async_api import expect

import chat

if TYPE_CHECKING:
    from tests.browser.conftest import Servers, Visit, Visitor

# First the pieces of the English catalogue, but for those that French has as well; then those of
# them that stand in what is seen or read out. What people wrote is in no catalogue.
_LEARN: Final = """async () => {
  const { EN } = await import(`${location.origin}/static/js/texts/en.js`);
  const { FR } = await import(`${location.origin}/static/js/texts/fr.js`);
  const formsOf = (text) => (typeof text === 'string' ? [text] : Object.values(text));
  const partsOf = (text) => text.split(/\\{\\w+\\}/).map((part) => part.trim());
  const parts = (texts) => Object.values(texts).flatMap(formsOf).flatMap(partsOf);
  const french = parts(FR).join('\\n').toLowerCase();
  const isWords = (part) => /\\p{L}{3}/u.test(part) && !french.includes(part.toLowerCase());
  globalThis.english = [...new Set(parts(EN).filter(isWords))];
}"""
_SEEN: Final = """() => {
  const seen = [document.title];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_ELEMENT);
  for (let element = walk.currentNode; element; element = walk.nextNode()) {
    if (element.closest('noscript, [data-part="text"], .quote-words')) continue;
    const words = ['aria-label', 'title', 'placeholder'].map((name) => element.getAttribute(name));
    const nodes = [...element.childNodes].filter(({ nodeType }) => nodeType === Node.TEXT_NODE);
    seen.push(...words.filter(Boolean), ...nodes.map(({ data }) => data));
  }
  const has = (text, part) =>
    part.includes(' ') ? text.includes(part) : text.trim() === part;
  return globalThis.english.filter((part) => seen.some((text) => has(text, part)));
}"""

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def database() -> str:
    return chat.IN_MEMORY


async def test_every_state_is_in_french(visit: Visit, servers: Servers) -> None:
    await servers.stop_chat()
    servers.chat_config = replace(servers.chat_config, limits=chat.Limits(content_bytes=40))
    await servers.start_chat()
    ada = await visit(locale="fr-FR")
    await ada.page.evaluate(_LEARN)
    await ada.page.get_by_test_id("enter-button").click()
    await expect(ada.page.get_by_test_id("name-problem")).to_have_text("Saisissez un nom.")
    await _in_french(ada, "the entry")
    await ada.enter("ada", "lobby")
    await expect(ada.page.locator("html")).to_have_attribute("lang", "fr")
    await ada.say("bonjour")
    await servers.post("lobby", "bob", ["salut"])
    await expect(ada.page.locator(".day-name")).to_have_text("Aujourd\u2019hui")
    await _in_french(ada, "a room")
    await ada.say("trop long pour ce serveur, de quelques lettres")
    await expect(ada.messages.last).to_contain_text("Non envoyé\u00a0:")
    await _in_french(ada, "a refused message")

    await ada.message("bonjour").hover()
    await ada.page.get_by_test_id("bar-react").click()
    await _in_french(ada, "the reactions")
    await ada.page.keyboard.press("Escape")
    await ada.message("bonjour").hover()
    await ada.page.get_by_test_id("bar-more").click()
    await _in_french(ada, "the menu of a message")
    await ada.page.get_by_role("menuitem", name="Supprimer").click()
    await _in_french(ada, "the question")
    await ada.page.get_by_role("button", name="Garder").click()
    await ada.page.get_by_test_id("join-button").click()
    await _in_french(ada, "the rooms")
    await ada.page.keyboard.press("Escape")
    # The choice goes before the browser's wish, and is given up again.
    await ada.page.locator("#profile-open").click()
    for choice, language in (("en", "en"), ("", "fr")):
        await ada.page.locator("#profile-language").select_option(choice)
        await expect(ada.page.locator("html")).to_have_attribute("lang", language)
    await _in_french(ada, "the profile")
    await ada.page.keyboard.press("Escape")

    await ada.page.context.set_offline(True)
    await servers.stop_proxy()
    await expect(ada.banner).to_contain_text("Vous êtes hors ligne.")
    await _in_french(ada, "offline")


async def _in_french(visitor: Visitor, state: str) -> None:
    assert await visitor.page.evaluate(_SEEN) == [], state
