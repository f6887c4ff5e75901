"""Measures the page in a real browser, against what it has to keep to.

With ``--before FOLDER``, another checkout of the project is measured in alternation: it has to
have `proxy/static` and the two programs. Figures of time depend on the machine; those of bytes,
requests and elements do not.
"""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Final

from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from bench import processes
from bench.options import Effort, Options
from bench.page import crowd, watching
from bench.processes import TargetError
from bench.report import Section, Table, progress
from bench.targets import HOST, PROJECT, ROOT

RATE: Final = 200
"""How many messages a second others write, of all together."""
MESSAGES: Final = 10_000
"""How many messages there were when the memory is looked at."""

_ROUNDS: Final = {Effort.QUICK: 1, Effort.NORMAL: 3, Effort.FULL: 5}
_SECONDS: Final = {Effort.QUICK: 3.0, Effort.NORMAL: 6.0, Effort.FULL: 10.0}
_PAUSE_SECONDS: Final = 0.1
_POLL_MS: Final = 250
_DESK: Final = ViewportSize(width=1280, height=800)
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_SCROLL_UP: Final = """() => {
  const [log, jump] = ['log', 'jump'].map((id) => document.getElementById(id));
  if (jump.hidden) log.scrollTop = log.scrollHeight / 3;
  return !jump.hidden;
}"""
# Whoever enters while many write is shown the first message of them.
_GO_DOWN: Final = """() => {
  const jump = document.getElementById('jump');
  if (!jump.hidden) jump.click();
  return jump.hidden && document.querySelector('[data-testid=message]') !== null;
}"""
_SHOWS_ALL: Final = "count => document.querySelectorAll('[data-testid=message]').length >= count"

# The name of each figure, its unit, what is to be kept to, and whether less is better.
_FIGURES: Final = {
    "requests": ("requests of a first visit", "at most 6"),
    "bytes": ("KiB of a first visit, as sent", "at most 60"),
    "again": ("requests of a reload", ""),
    "revalidated": ("of them revalidations", "0"),
    "paint": ("s to the first paint on slow 3G", ""),
    "fps": ("frames/s at the bottom", "at least 50"),
    "fps_up": ("frames/s scrolled up", "at least 50"),
    "key": ("ms for a key to show, median", ""),
    "key_95": ("ms for a key to show, p95", "at most 100"),
    "messages": ("messages in the document", "at most 300"),
    "elements": ("elements in the document", ""),
    "heap": (f"MB of memory after {MESSAGES:,} messages", ""),
}


@dataclass(slots=True)
class _Results:
    """The figures of one checkout, one for each round."""

    label: str
    root: Path
    figures: dict[str, list[float]] = field(default_factory=dict)

    def add(self, **figures: float) -> None:
        for name, value in figures.items():
            self.figures.setdefault(name, []).append(value)


async def measure(options: Options) -> Section:
    """Measures the page, and the one before, if there is one."""
    pages = [_Results("now", ROOT)]
    if options.before is not None:
        pages.insert(0, _Results("before", options.before))
    await _measure(options.effort, pages)
    names = [page.label for page in pages]
    title = f"The page, with {RATE} messages a second in its room"
    table = Table(title, ["", *names, "to keep"])
    for name, (label, bound) in _FIGURES.items():
        values = [_written(name, median(page.figures[name])) for page in pages]
        table.add(label, *values, bound)
    data = {page.label: {n: round(median(v), 2) for n, v in page.figures.items()} for page in pages}
    return Section([table], data)


def _written(name: str, value: float) -> str:
    return f"{value:.1f}" if name in ("bytes", "paint", "heap") else f"{value:,.0f}"


async def _measure(effort: Effort, pages: list[_Results]) -> None:
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        raise TargetError("needs a Chromium: apt-get install --yes chromium")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=sandbox)
        for number in range(_ROUNDS[effort]):
            for page in pages:
                progress(f"page: {page.label}, round {number + 1} of {_ROUNDS[effort]}")
                await _round(browser, page, _SECONDS[effort])
        await browser.close()


async def _round(browser: Browser, results: _Results, seconds: float) -> None:
    async with processes.running(PROJECT, results.root) as running:
        address = f"http://{HOST}:{running.port}/?as=ada#{crowd.ROOM}"
        quiet = f"http://{HOST}:{running.port}/?as=ada#{crowd.QUIET}"
        await _visit(browser, address, results)
        await _paint(browser, address, results)
        await _storm(browser, address, running.port, results, seconds)
        await _fill(browser, quiet, running.port, results)


async def _visit(browser: Browser, address: str, results: _Results) -> None:
    async with _page(browser) as page:
        session = await page.context.new_cdp_session(page)
        traffic = await watching.count_traffic(session)
        await _enter(page, address)
        await page.wait_for_load_state("networkidle")
        results.add(requests=traffic.requests, bytes=traffic.received / 1024)
        before = traffic.requests, traffic.revalidated
        await page.reload()
        await page.wait_for_load_state("networkidle")
        results.add(again=traffic.requests - before[0], revalidated=traffic.revalidated - before[1])


async def _paint(browser: Browser, address: str, results: _Results) -> None:
    async with _page(browser) as page:
        await watching.slow_down(await page.context.new_cdp_session(page))
        await page.goto(address)
        results.add(paint=await watching.first_paint(page) / 1000)


async def _storm(
    browser: Browser, address: str, port: int, results: _Results, seconds: float
) -> None:
    """Measures while others write: at the bottom, while typing, and scrolled up."""
    async with _page(browser) as page, crowd.writing(port, RATE):
        await _enter(page, address)
        await page.wait_for_function(_GO_DOWN, polling=_POLL_MS)
        await page.wait_for_function(_SHOWS_ALL, arg=100)
        results.add(fps=await watching.frames_a_second(page, seconds))
        keys = await watching.type_keys(page, seconds, _PAUSE_SECONDS)
        results.add(key=median(keys), key_95=quantiles(keys, n=20)[-1])
        await page.wait_for_function(_SCROLL_UP, polling=_POLL_MS)
        results.add(fps_up=await watching.frames_a_second(page, seconds))
        count, messages = await watching.elements(page)
        results.add(elements=count, messages=messages)


async def _fill(browser: Browser, address: str, port: int, results: _Results) -> None:
    async with _page(browser) as page:
        session = await page.context.new_cdp_session(page)
        await _enter(page, address)
        await crowd.write(port, MESSAGES)
        # A page that could not keep up shows a button to the newest message.
        jump, last = page.get_by_test_id("jump-button"), page.get_by_text(crowd.LAST, exact=True)
        await jump.or_(last).first.wait_for()
        if await jump.is_visible():
            await jump.click()
        await last.wait_for()
        results.add(heap=await watching.heap_bytes(session) / 1e6)


async def _enter(page: Page, address: str) -> None:
    await page.goto(address)
    await page.get_by_test_id("message-input").wait_for()


@asynccontextmanager
async def _page(browser: Browser) -> AsyncIterator[Page]:
    context = await browser.new_context(viewport=_DESK, locale="en-GB")
    yield await context.new_page()
    await context.close()
