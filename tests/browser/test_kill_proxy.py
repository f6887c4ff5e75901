"""The page while its proxy is killed, again and again: nothing is lost, nothing comes twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.faults.clients import Participant
from tests.faults.history import Outcome, Send, check
from tests.faults.journal import Journal
from tests.faults.storm import heads, stored
from tests.faults.world import World, branch, seeded

if TYPE_CHECKING:
    from tests.browser.conftest import Visit, Visitor

# They share one browser.
pytestmark = pytest.mark.asyncio(loop_scope="session")

KILLS: Final = 3
ROOM: Final = "lobby"
_SHOWN: Final = """list => list.map(each => [
    Number(each.dataset.seq),
    each.dataset.id,
    each.querySelector('[data-testid="message-text"]').textContent,
])"""
_OUTBOX: Final = "JSON.parse(sessionStorage.getItem('chat.outbox') ?? '[]')"


@pytest_asyncio.fixture(loop_scope="session")
async def servers(tmp_path: Path) -> AsyncIterator[World]:
    """Both servers as processes that can be killed."""
    async with World.running(tmp_path) as world:
        yield world
    assert world.tracebacks == ""


@asynccontextmanager
async def talk(scripts: list[Participant], journal: Journal, chance: Random) -> AsyncIterator[None]:
    """Sends messages of other clients; finishes the begun ones at the end."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for each in scripts:
            group.create_task(each.talk(branch(chance), stop, 2))
        await journal.confirmed_more(chance.randrange(2, 12))
        stop.set()
        yield


async def kill_and_start(
    world: World, ada: Visitor, scripts: list[Participant], journal: Journal, chance: Random
) -> dict[str, str]:
    """Kills the proxy while all are sending, and restarts it; all clients reconnect.

    Returns:
        The messages that the page has not seen confirmed meanwhile: ids by text.
    """
    number = world.proxy.starts
    await ada.say(f"{number} at the last moment")
    async with talk(scripts, journal, chance):
        await world.proxy.kill()
        await ada.say(f"{number} too late")
        await expect(ada.banner).to_contain_text("Connection lost.")
        await ada.say(f"{number} much too late")
        await expect(ada.message(f"{number} much too late")).to_have_attribute(
            "data-state", "sending"
        )
        kept = {each["content"]: each["id"] for each in await ada.page.evaluate(_OUTBOX)}
        await world.proxy.start()
    async with talk(scripts, journal, chance):
        await expect(ada.banner).to_be_hidden()
    return kept


@pytest.mark.timeout(180)
async def test_page_reconnects_after_kills(visit: Visit, servers: World) -> None:
    journal = Journal()
    scripts = [Participant(name, servers.url, [ROOM], journal) for name in ("bob", "eve")]
    kept: dict[str, str] = {}
    ada = await visit()
    await ada.enter("ada", ROOM)
    with seeded() as chance:
        async with asyncio.TaskGroup() as group:
            for each in scripts:
                group.create_task(each.run())
            await journal.until(lambda: all(each.follows for each in scripts))
            for _ in range(KILLS):
                kept |= await kill_and_start(servers, ada, scripts, journal, chance)
            await ada.say("the end")
            await expect(ada.message("the end")).to_have_attribute("data-state", "sent")
            messages = journal.history.stored = await stored(servers.url)
            for each in scripts:
                await each.reached(heads(messages))
                each.finish()

        await expect(ada.messages).to_have_count(len(messages))
        shown = await ada.messages.evaluate_all(_SHOWN)
        assert shown == [[each.seq, each.id, each.content] for each in messages]
        assert await ada.page.evaluate(_OUTBOX) == []
        own = {each.content: each for each in messages if each.sender == "ada"}
        assert len(own) == 3 * KILLS + 1
        assert {text: own[text].id for text in kept} == kept
        assert sum("too late" in text for text in kept) == 2 * KILLS
        journal.history.sends += [
            Send(ROOM, "ada", each.id, text, Outcome.CONFIRMED, each.seq)
            for text, each in own.items()
        ]
        assert check(journal.history) == []
