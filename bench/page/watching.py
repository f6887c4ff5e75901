"""What is measured inside of the page, by scripts that read and change nothing of it."""

from dataclasses import dataclass
from typing import Any, Final

from playwright.async_api import CDPSession, Page

# Chrome's own figures for a slow 3G network, with the latency that a request has on it.
_LATENCY_MS: Final = 400
_BYTES_A_SECOND: Final = 50_000

_COUNT_FRAMES: Final = """(milliseconds) => new Promise((resolve) => {
  let frames = 0;
  const start = performance.now();
  const next = (now) => {
    if (now - start >= milliseconds) return resolve(frames * 1000 / (now - start));
    frames += 1;
    requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
})"""

# From the press of a key until the frame that shows it is painted.
_TIME_KEYS: Final = """() => {
  window.benchKeys = [];
  addEventListener('keydown', ({ timeStamp }) => requestAnimationFrame(() => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => window.benchKeys.push(performance.now() - timeStamp);
    port2.postMessage(null);
  }), { capture: true });
}"""

_FIRST_PAINT: Final = """() => new Promise((resolve) => {
  new PerformanceObserver((list) => {
    for (const { name, startTime } of list.getEntries()) {
      if (name === 'first-contentful-paint') resolve(startTime);
    }
  }).observe({ type: 'paint', buffered: true });
})"""


@dataclass(slots=True)
class Traffic:
    """What a page asked for.

    Attributes:
        requests: how many requests went to the network.
        received: how many bytes came back, heads included, as they were sent.
        revalidated: how many of the answers were "304 Not Modified".
    """

    requests: int = 0
    received: float = 0.0
    revalidated: int = 0


async def count_traffic(session: CDPSession) -> Traffic:
    """Begins to count the requests of a page; those of WebSockets do not count."""
    traffic = Traffic()
    kept: set[str] = set()

    def responded(event: dict[str, Any]) -> None:
        response = event["response"]
        if response.get("fromDiskCache") or response.get("fromServiceWorker"):
            kept.add(event["requestId"])
            return
        traffic.requests += 1
        traffic.revalidated += response["status"] == 304

    def finished(event: dict[str, Any]) -> None:
        if event["requestId"] not in kept:
            traffic.received += event["encodedDataLength"]

    session.on("Network.responseReceived", responded)
    session.on("Network.loadingFinished", finished)
    await session.send("Network.enable")
    return traffic


async def slow_down(session: CDPSession) -> None:
    """Lets a page come by a slow 3G network."""
    await session.send("Network.enable")
    await session.send(
        "Network.emulateNetworkConditions",
        {
            "offline": False,
            "latency": _LATENCY_MS,
            "downloadThroughput": _BYTES_A_SECOND,
            "uploadThroughput": _BYTES_A_SECOND,
        },
    )


async def first_paint(page: Page) -> float:
    """Returns when something of the page was painted first, in milliseconds."""
    found: float = await page.evaluate(_FIRST_PAINT)
    return found


async def frames_a_second(page: Page, seconds: float) -> float:
    """Returns how many frames a second the page makes."""
    found: float = await page.evaluate(_COUNT_FRAMES, 1000 * seconds)
    return found


async def type_keys(page: Page, seconds: float, pause: float) -> list[float]:
    """Types into the composer; returns how long each key took to show, in milliseconds."""
    await page.evaluate(_TIME_KEYS)
    composer = page.get_by_test_id("message-input")
    await composer.focus()
    for _ in range(round(seconds / pause)):
        await page.keyboard.press("x")
        await page.wait_for_timeout(1000 * pause)
    found: list[float] = await page.evaluate("window.benchKeys")
    await composer.fill("")
    return found


async def heap_bytes(session: CDPSession) -> int:
    """Returns how much the page's objects take, after a collection."""
    await session.send("HeapProfiler.collectGarbage")
    usage = await session.send("Runtime.getHeapUsage")
    return int(usage["usedSize"])


async def elements(page: Page) -> tuple[int, int]:
    """Returns how many elements the document has, and how many messages."""
    count: int = await page.evaluate("document.querySelectorAll('*').length")
    return count, await page.get_by_test_id("message").count()
