"""A copy of a room, with edits and reactions, that outlives lost connections.

Run: python websocket_follower.py URL ROOM.
"""

import asyncio
import sys
from contextlib import suppress
from typing import Any

import aiohttp


async def follow(url: str, position: dict[str, Any], copy: dict[int, dict[str, Any]]) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        await socket.send_json({"join": {"follow": ["CHANGES"], **position}})
        async for frame in socket:
            match frame.json():
                case {"joined": {"epoch": epoch, "recovered": recovered}}:
                    if not recovered:  # another history, or too much: page through it instead
                        raise SystemExit("cannot go on: see the recipe in docs/websocket-api.md")
                    position["epoch"] = epoch
                    print("joined", position["room_id"], flush=True)
                case {"chat_message": message}:
                    copy[message["seq"]] = message
                    position["after_seq"] = message["seq"]
                    print(message["seq"], message["content"], flush=True)
                case {"changes": {"last_change": last_change, "messages": changed}}:
                    for each in changed:
                        message = copy[each["seq"]]
                        known = message.get("extra", {}).get("state", {"change": 0})
                        if each["state"]["change"] <= known["change"]:
                            continue  # of two states, the one with the larger number holds
                        message |= {"content": each.get("content", message["content"])}
                        message["extra"] = message.get("extra", {}) | {"state": each["state"]}
                        emoji = [reaction["emoji"] for reaction in each["state"]["reactions"]]
                        print(each["seq"], message["content"], *emoji, flush=True)
                    position["after_change"] = max(position["after_change"], last_change)


async def run(url: str, room_id: str) -> None:
    position: dict[str, Any] = {"room_id": room_id, "after_seq": 0, "after_change": 0}
    copy: dict[int, dict[str, Any]] = {}
    while True:
        with suppress(aiohttp.ClientError):
            await follow(url, position, copy)
        await asyncio.sleep(0.5)


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], sys.argv[2]))
