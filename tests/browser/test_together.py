"""Three people, one of them French and one with a phone: what one does, the others see.

One journey, so that the pages are paid for once: all features first, then whatever may befall the
page or its servers. In the end all see the same.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import pytest
from playwright.async_api import TimeoutError as Late
from playwright.async_api import expect

from tests.browser.conftest import PATIENCE_MS

if TYPE_CHECKING:
    from tests.browser.conftest import Servers, Visit, Visitor

# They share one browser.
pytestmark = pytest.mark.asyncio(loop_scope="session")

_PHONE: Final = (390, 780)

# One line for each message, the same in all languages.
_PICTURE: Final = """() => [...document.querySelectorAll('[data-testid="message"]')].map((one) => {
  const part = (name) => one.querySelector(`[data-testid="${name}"]`);
  const isShown = (name) => !part(name).hidden;
  const said = one.classList.contains('deleted') ? '(deleted)' : part('message-text').textContent;
  return [
    `${one.dataset.seq} ${part('message-sender').textContent}: ${said}`,
    ...(isShown('quote') ? [part('quote').textContent.replace(/^.* (?=\\S+: )/, 'to ')] : []),
    ...[...one.querySelectorAll('[data-testid="chip"]')].map((chip) => chip.textContent),
    ...['edited', 'pin-sign'].filter(isShown),
    ...(one.dataset.state === 'sent' && !one.dataset.progress ? [] : ['not stored']),
  ].join(' | ');
})"""


async def test_three_people_see_the_same(visit: Visit, servers: Servers) -> None:
    ada = await visit()
    ben = await visit(locale="fr-FR")
    cleo = await visit(size=_PHONE, has_touch=True, is_mobile=True)
    three = (ada, ben, cleo)
    await _enter(ada, ben, cleo)
    await _talk(ada, ben, cleo)
    await _mention(ada, cleo)
    await _rename(ben)

    for visitor in three:
        await visitor.page.reload()
    shown = [
        "1 Cleo: Where do we meet? | pin-sign",
        "2 Benoît: At the old station | to Cleo: Where do we meet? | 👍 2 | edited",
        "3 Ada: (deleted)",
        "4 Ada: Look, @Cleo",
    ]
    await _agree(three, shown)
    await _are_here(ada, ben, cleo)

    # The server restarts: each sends or changes something meanwhile.
    await servers.stop_chat()
    await ada.say("during one")
    await expect(ada.message("during one")).to_have_attribute("data-state", "sending")
    await cleo.messages.nth(1).get_by_test_id("chip").tap()
    await expect(cleo.messages.nth(1)).to_have_attribute("data-progress", "saving")
    await servers.start_chat()
    shown[1] = shown[1].replace("👍 2", "👍 1")
    shown.append("5 Ada: during one")
    await _agree(three, shown)

    # The proxy restarts while Ben is in a tunnel, out of which he comes last.
    await ben.page.context.set_offline(offline=True)
    await servers.stop_proxy()
    await expect(ben.banner).to_contain_text("Vous êtes hors ligne.")
    await ben.say("from the tunnel")
    await expect(ben.message("from the tunnel")).to_have_attribute("data-state", "sending")
    await expect(ada.banner).to_contain_text("Connection lost.")
    await ada.say("during two")
    await expect(ada.message("during two")).to_have_attribute("data-state", "sending")
    await servers.start_proxy()
    shown.append("6 Ada: during two")
    await _agree((ada, cleo), shown)
    await ben.page.context.set_offline(offline=False)
    shown.append("7 Benoît: from the tunnel")
    await _agree(three, shown)
    await ben.page.reload()
    await _agree(three, shown)
    await _are_here(ada, ben, cleo)
    for visitor in three:
        await expect(visitor.banner).to_be_hidden()


async def _enter(ada: Visitor, ben: Visitor, cleo: Visitor) -> None:
    """A room is made, named, and found by others; all see who is there."""
    await ada.name.fill("Ada")
    await ada.room.fill("walk")
    await ada.page.get_by_test_id("choice").filter(has_text="Create “walk”").click()
    await ada.is_in("walk")
    await ada.page.get_by_test_id("room-menu-button").click()
    await ada.page.get_by_test_id("room-info-button").click()
    await ada.page.get_by_test_id("room-info-name").fill("A walk")
    await ada.page.get_by_test_id("room-info-topic").fill("In the woods")
    await ada.page.get_by_test_id("room-info-save").click()
    await ada.is_in("A walk")

    # They were here before there was a room.
    for visitor, name, present in ((ben, "Ben", "1 présent"), (cleo, "Cleo", "2 here")):
        await visitor.page.reload()
        choice = visitor.page.get_by_test_id("choice")
        await expect(choice).to_contain_text(f"A walk walk In the woods {present}")
        await visitor.name.fill(name)
        await choice.click()
        await visitor.is_in("A walk")
        await expect(visitor.page.get_by_test_id("room-topic")).to_have_text("In the woods")
        await expect(visitor.room_item("walk")).to_contain_text("A walk")
    await expect(ada.page.get_by_test_id("here")).to_have_text("3 here · Ben, Cleo, you")
    await expect(ben.page.get_by_test_id("here")).to_have_text("3 ici · Ada, Cleo, vous")
    await expect(cleo.page.get_by_test_id("here")).to_have_text("3 here · Ada, Ben, you")


async def _talk(ada: Visitor, ben: Visitor, cleo: Visitor) -> None:
    """Each does something to messages; the others see it."""
    await cleo.input.fill("Where do we meet?")
    await expect(ada.page.get_by_test_id("typists")).to_have_text("Cleo is typing…")
    await expect(ben.page.get_by_test_id("typists")).to_have_text("Cleo écrit…")
    await cleo.page.get_by_test_id("send-button").tap()
    await _agree((ada, ben, cleo), ["1 Cleo: Where do we meet?"])
    for visitor in (ada, ben):
        await expect(visitor.page.get_by_test_id("typists")).to_have_text("")

    await ben.messages.first.hover()
    await ben.page.get_by_test_id("bar-reply").click()
    await expect(ben.page.get_by_test_id("context")).to_contain_text("Réponse à Cleo")
    await ben.say("At the station")
    await ada.message("At the station").hover()
    await ada.page.get_by_test_id("bar-react").click()
    await ada.page.get_by_test_id("picker").get_by_role("button", name="thumbs up").click()
    await cleo.messages.last.get_by_test_id("chip").tap()
    chip = ben.messages.last.get_by_test_id("chip")
    await expect(chip).to_have_accessible_name("👍 2, Ada et Cleo")
    await ben.input.press("ArrowUp")
    await ben.say("At the old station")

    await ada.say("Never mind")
    for visitor in (ada, cleo):
        await visitor.sees("Where do we meet?", "At the old station", "Never mind")
    await ada.message("Never mind").focus()
    await ada.page.keyboard.press("Delete")
    await ada.page.get_by_test_id("confirm-yes").click()
    await expect(ben.texts.last).to_have_text("Message supprimé")
    await ada.messages.first.hover()
    await ada.page.get_by_test_id("bar-more").click()
    await ada.page.get_by_role("menuitem", name="Pin").click()
    await expect(ben.page.get_by_test_id("pins-button")).to_have_accessible_name(
        "1 message épinglé"
    )


async def _mention(ada: Visitor, cleo: Visitor) -> None:
    """Who is mentioned is told so in another room."""
    await cleo.page.get_by_test_id("menu-button").tap()
    await cleo.page.get_by_test_id("join-button").tap()
    await cleo.room.fill("lobby")
    await cleo.page.get_by_test_id("enter-button").tap()
    await cleo.is_in("lobby")
    await ada.input.press_sequentially("Look, @c")
    await ada.page.get_by_role("option", name="Cleo").click()
    await ada.input.press("Enter")
    await expect(cleo.room_item("walk").get_by_test_id("unread-count")).to_have_text("@1")
    await cleo.page.get_by_test_id("menu-button").tap()
    await cleo.room_item("walk").tap()
    await cleo.is_in("A walk")
    await expect(cleo.messages.last.get_by_test_id("mention-sign")).to_be_visible()
    await expect(ada.messages.last.get_by_test_id("mention-sign")).to_be_hidden()


async def _rename(ben: Visitor) -> None:
    await ben.page.get_by_test_id("rename-button").click()
    await ben.name.fill("Benoît")
    await ben.page.get_by_test_id("enter-button").click()
    await expect(ben.page.get_by_test_id("message-sender").nth(1)).to_have_text("Benoît")


async def _are_here(ada: Visitor, ben: Visitor, cleo: Visitor) -> None:
    """All are known to be there, by their names; and nobody types."""
    await expect(ada.page.get_by_test_id("here")).to_have_text("3 here · Benoît, Cleo, you")
    await expect(ben.page.get_by_test_id("here")).to_have_text("3 ici · Ada, Cleo, vous")
    await expect(cleo.page.get_by_test_id("here")).to_have_text("3 here · Ada, Benoît, you")
    for visitor in (ada, ben, cleo):
        await expect(visitor.page.get_by_test_id("typists")).to_have_text("")


async def _agree(visitors: tuple[Visitor, ...], shown: list[str]) -> None:
    """Waits until all see exactly this."""
    for visitor in visitors:
        # What is shown instead is told by the comparison.
        with suppress(Late):
            await visitor.page.wait_for_function(
                f"wanted => JSON.stringify(({_PICTURE})()) === JSON.stringify(wanted)",
                arg=shown,
                timeout=PATIENCE_MS,
            )
        assert await visitor.page.evaluate(_PICTURE) == shown
