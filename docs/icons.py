"""Paints the page's icon as PNG files, for those that take no SVG: phones' home screens.

``python -m docs.icons`` writes them into ``proxy/static``. It takes a Chromium, by Playwright.
"""

import asyncio
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from playwright.async_api import async_playwright

STATIC: Final = Path(__file__).parents[1] / "proxy" / "static"
_GREEN: Final = "#2f6152"


@dataclass(frozen=True)
class Icon:
    """A picture to paint.

    Attributes:
        name: its file.
        size: its width and height in pixels.
        ground: the colour behind it; none leaves its corners open.
        scale: how much of the picture the icon takes: what is cut into a circle keeps four
            fifths of it (W3C Manifest, "safe zone").
    """

    name: str
    size: int
    ground: str = "transparent"
    scale: float = 1.0


ICONS: Final = (
    Icon("icon-180.png", 180, _GREEN),
    Icon("icon-192.png", 192),
    Icon("icon-512.png", 512),
    Icon("icon-maskable.png", 512, _GREEN, 0.8),
)


async def paint() -> None:
    """Paints them all."""
    drawing = (STATIC / "icon.svg").read_text(encoding="utf-8")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox"] if os.geteuid() == 0 else [],
        )
        page = await browser.new_page()
        for icon in ICONS:
            await page.set_viewport_size({"width": icon.size, "height": icon.size})
            side = round(icon.size * icon.scale)
            place = (
                f"position:fixed;left:{(icon.size - side) // 2}px;top:{(icon.size - side) // 2}px"
            )
            await page.set_content(
                f"<body style='background:{icon.ground}'>"
                f"<div style='width:{side}px;height:{side}px;{place}'>{drawing}</div>"
            )
            await page.screenshot(path=STATIC / icon.name, omit_background=True)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(paint())
