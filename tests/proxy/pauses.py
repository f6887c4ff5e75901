"""Shared by the tests of restarts and of broken links."""

import asyncio
from collections.abc import Sequence

import aiohttp

from tests.proxy.web_client import (
    Client,
    Frame,
    Http,
    contents,
    joined,
    seqs,
)

# Long enough to end only in tests of giving up.
HOLD_SECONDS = 25.0


async def linked(client: Client) -> None:
    """Waits for the proxy's link: a unary call waits for it, within limits."""
    while "users" not in await client.ask(list_users={}):
        pass


async def unready(http: Http | aiohttp.ClientSession, address: str = "/readyz") -> None:
    """Waits until the proxy has noticed that the server is away."""
    while True:
        async with http.get(address) as response:
            if response.status == 503:
                return


async def members(http: Http, number: int) -> list[Client]:
    return [await joined(http, "lobby") for _ in range(number)]


async def talk(client: Client, name: str, until: asyncio.Event) -> list[str]:
    """Sends continuously, each message after the last answer; returns the messages sent."""
    sent: list[str] = []
    while not until.is_set():
        sent.append(f"{name} {len(sent)}")
        await client.say("lobby", sent[-1], sender_id=name)
        await client.take_until_content(sent[-1])
    return sent


def check_all_once(frames: Sequence[Frame], expected: set[str]) -> None:
    """Checks that each message is there once, without a gap in the positions."""
    assert seqs(frames) == list(range(1, len(expected) + 1))
    assert set(contents(frames)) == expected


def check_unavailable(answer: Frame) -> None:
    assert answer["error"]["code"] == "UNAVAILABLE"
    assert answer["error"]["retryable"] is True
