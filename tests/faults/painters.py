"""Clients that change messages and their room while things break, and keep a picture of it.

Each does one thing at a time, and asks for it until it is answered: a request says what is to
hold, so that it may be repeated. Only one's own texts are edited, so it is known what they
have to be in the end. An edit names the state that it was made from: one that a server held up,
and that was made meanwhile by another, comes to nothing.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from itertools import count, cycle
from random import Random
from typing import Any, Final

import aiohttp
from aiohttp import ClientError, WSMsgType

from tests.faults.journal import Journal
from tests.faults.pictures import Frame, Picture, differences, named, number, shown
from tests.proxy.web_client import Client, message

_RETRY_SECONDS: Final = 0.03
_PAGE: Final = 500
_EMOJI: Final = ("👍", "🎉", "a")
_FOLLOWED: Final = ("CHANGES", "READS", "TYPING", "PRESENCE")
# It says that it types before each so many things that it does.
_THINGS_FOR_TYPING: Final = 5
_TYPING: Final = "typing"


class Painter:
    """A client that stays in its room, over as many connections as it takes.

    Args:
        name: the user that it is.
        urls: addresses to connect to, used in turn.
        room: the room.
        journal: wakes who waits for it.

    Attributes:
        picture: what it knows of the room.
        acknowledged: by position, the newest change that it was answered.
        texts: by position, what its own messages have to say.
        rooms: by its change, what it was answered that the room is.
        mark: how far it was answered that it has read.
        done: how many things it has done.
        connections: how many connections it made.
        lost: how often its picture could not be continued.
    """

    def __init__(self, name: str, urls: Sequence[str], room: str, journal: Journal) -> None:
        self.name = name
        self.room = room
        self.picture = Picture()
        self.acknowledged: dict[int, int] = {}
        self.texts: dict[int, str] = {}
        self.rooms: dict[int, Frame] = {}
        self.mark = 0
        self.done = 0
        self.connections = 0
        self.lost = 0
        self._urls = cycle(urls)
        self._journal = journal
        self._numbers = count(1)
        self._wanted: Frame | None = None
        self._request_id = ""
        self._join_id = ""
        self._follows = False
        self._socket: aiohttp.ClientWebSocketResponse[Any] | None = None
        self._over = False

    async def run(self) -> None:
        """Stays connected until `finish`."""
        async with aiohttp.ClientSession() as session:
            while not self._over:
                with suppress(ClientError, OSError):
                    async with session.ws_connect(next(self._urls)) as socket:
                        self.connections += 1
                        self._socket = socket
                        await self._join()
                        await self._ask()
                        await self._read(socket)
                self._socket, self._follows = None, False
                if not self._over:
                    await asyncio.sleep(_RETRY_SECONDS)

    async def paint(self, chance: Random, until: asyncio.Event, pause_seconds: float) -> None:
        """Does one thing after the other until told to stop, and until the last is answered."""
        while not until.is_set():
            if self.done % _THINGS_FOR_TYPING == 0:
                await self._send({"typing": {"room_id": self.room, "user_id": self.name}}, _TYPING)
            self._wanted = self._something(chance)
            self._request_id = f"{self.name} {next(self._numbers)}"
            await self._ask()
            await self._journal.until(lambda: self._wanted is None)
            self.done += 1
            await asyncio.sleep(pause_seconds)

    async def reached(self, seq: int, change: int) -> None:
        """Waits until its picture has all of the room."""
        await self._journal.until(
            lambda: (
                self._follows
                and (self.picture.seq, self.picture.change) >= (seq, change)
                and self.picture.change >= change
            )
        )

    async def finish(self) -> None:
        """Lets `run` end."""
        self._over = True
        if self._socket is not None:
            await self._socket.close()

    def _something(self, chance: Random) -> Frame:
        """One thing to be done."""
        seqs = list(self.picture.messages)
        own = [seq for seq, text in self.texts.items() if text and seq in self.picture.messages]
        if len(seqs) < 3 or chance.random() < 0.2:
            extra: Frame = {"mentions": [chance.choice(["ada", "ben"])]}
            if seqs:
                extra["reply_to"] = chance.choice(seqs)
            name = f"{self.name}-{next(self._numbers)}"
            return {"chat_message": message(self.room, name, self.name, id=name, extra=extra)}
        if chance.random() < 0.1:
            mark = {"room_id": self.room, "seq": chance.choice(seqs), "user_id": self.name}
            return {"mark_read": mark}
        if chance.random() < 0.1:
            return {"set_room": self._room(chance)}
        asked: Frame = {"room_id": self.room, "user_id": self.name, "seq": chance.choice(seqs)}
        if own and chance.random() < 0.5:
            asked["seq"] = chance.choice(own)
            seen = number(self.picture.messages[asked["seq"]])
            wish: Frame = {"content": f"text {next(self._numbers)}", "if_change": seen}
            if chance.random() < 0.15:
                wish = {"delete": {}}
        elif chance.random() < 0.2:
            wish = {"pinned": chance.random() < 0.5}
        else:
            wish = {chance.choice(["react", "unreact"]): chance.choice(_EMOJI)}
        return {"change_message": asked | wish}

    def _room(self, chance: Random) -> Frame:
        title = f"by {self.name}, {next(self._numbers)}"
        asked: Frame = {"room": {"id": self.room, "title": title}}
        if chance.random() < 0.5:
            asked["room"]["topic"] = f"not {title}\nbut all"
        if chance.random() < 0.3:
            asked["if_change"] = self.picture.room.get("change", 0)
        return asked

    async def _join(self) -> None:
        self._follows = False
        self._join_id = f"join {next(self._numbers)}"
        join = {"room_id": self.room, "follow": _FOLLOWED, "user_id": self.name}
        await self._send({"join": join | self.picture.position}, self._join_id)

    async def _ask(self) -> None:
        if self._wanted is not None:
            await self._send(self._wanted, self._request_id)

    async def _send(self, frame: Frame, request_id: str) -> None:
        if self._socket is not None:
            # The reader notices that the connection is gone.
            with suppress(ClientError, OSError):
                await self._socket.send_json(frame | {"request_id": request_id})

    async def _read(self, socket: aiohttp.ClientWebSocketResponse[Any]) -> None:
        async for received in socket:
            if received.type is WSMsgType.TEXT:
                await self._take(received.json())
                self._journal.ring()

    async def _take(self, frame: Frame) -> None:
        answer = frame.pop("request_id", None)
        [(kind, payload)] = frame.items()
        match kind:
            case "joined":
                await self._joined(payload, answer)
            # Before its join is answered, all of it is of its stay before.
            case "chat_message" if self._follows:
                self.picture.hear(payload)
            case "changes" if self._follows:
                self.picture.hear_changes(payload)
            case "changed_message":
                self.picture.take(payload["message"])
            case "set_room" if self._follows:
                self.picture.take_room(payload["room"])
            case "room_presence":
                self.picture.company.hear_presence(payload)
            case "typists":
                self.picture.company.hear_typists(payload, _now())
            case "error":
                await self._refused(payload, answer)
                return
        if answer == self._request_id and self._wanted is not None:
            self._answered(kind, payload)

    async def _joined(self, joined: Frame, answer: str | None) -> None:
        if joined["recovered"]:
            self._follows = self._follows or answer == self._join_id
            self.picture.joined(joined)
        elif self._follows or answer == self._join_id:
            self.picture.joined(joined)
            self.lost += 1
            if joined["epoch"]:
                self.acknowledged.clear()
                self.texts.clear()
                self.rooms.clear()
                self.mark = 0
            await self._join()

    def _answered(self, kind: str, payload: Frame) -> None:
        match kind:
            case "chat_message":
                self.texts[payload["seq"]] = payload["content"]
            case "changed_message":
                found = payload["message"]
                seq = found["seq"]
                self.acknowledged[seq] = max(number(found), self.acknowledged.get(seq, 0))
                if found["sender_id"] == self.name:
                    self.texts[seq] = found["content"]
            case "set_room":
                self.rooms[payload["room"]["change"]] = payload["room"]
            case "marked_read":
                self.mark = max(self.mark, payload["mark"]["seq"])
            case _:
                self.picture.faults.append(f"{kind} answers {self._wanted}")
        self._wanted = None

    async def _refused(self, error: Frame, answer: str | None) -> None:
        if answer == self._join_id:
            await asyncio.sleep(_RETRY_SECONDS)
            await self._join()
        elif answer == self._request_id and self._wanted is not None:
            if error["retryable"]:
                await asyncio.sleep(error.get("retry_after_ms", 0) / 1000 + _RETRY_SECONDS)
                await self._ask()
                return
            # What it knew of the message was old: somebody deleted it, or another history began.
            passing = ["FAILED_PRECONDITION", "NOT_FOUND", "INVALID_ARGUMENT"]
            if self.lost:
                passing.append("PERMISSION_DENIED")  # it is another's message now
            if error["code"] not in passing:
                self.picture.faults.append(f"{error} answers {self._wanted}")
            self._wanted = None
        elif answer == _TYPING and error["code"] != "FAILED_PRECONDITION":
            # It is refused before it is in the room, and never else.
            self.picture.faults.append(f"{error} answers that it types")

    def judge(self, history: list[Frame], last_change: int, room: Frame) -> list[str]:
        """Compares what it knows, and was promised, with the history and the room at rest."""
        found = differences(self.picture, history, last_change, room)
        newest = max(self.rooms, default=0)
        if named(self.rooms.get(room["change"], room)) != named(room) or newest > room["change"]:
            found.append(f"was answered that the room is {self.rooms.get(newest)}: {room}")
        for seq, change in self.acknowledged.items():
            if number(history[seq - 1]) < change:
                found.append(f"was answered change {change} of message {seq}, which is gone")
        for seq, text in self.texts.items():
            now = history[seq - 1]
            if now["content"] != text and "deleted_at" not in now["extra"]["state"]:
                found.append(f"message {seq} has to say {text!r}: {now}")
        return [f"{self.name} in {self.room}: {line}" for line in found]


async def exhibition(client: Client, room: str) -> tuple[list[Frame], int]:
    """Reads a whole room; returns its messages, and its newest change."""
    messages: list[Frame] = []
    more, last_change = True, 0
    while more:
        page = {"room_id": room, "limit": _PAGE, "after_seq": len(messages)}
        answer = await client.ask(get_chat_history=page)
        if answer.get("error", {}).get("retryable"):
            await asyncio.sleep(_RETRY_SECONDS)
            continue
        history = answer["chat_history"]
        messages += history["messages"]
        more, last_change = history["has_more"], history.get("last_change", 0)
    return messages, last_change


async def summary(client: Client, room: str) -> Frame:
    """Reads how a list shows a room."""
    while "error" in (answer := await client.ask(list_rooms={"room_ids": [room]})):
        assert answer["error"]["retryable"], answer
        await asyncio.sleep(_RETRY_SECONDS)
    [found] = answer["rooms"]["rooms"]
    return dict(found)


async def present(client: Client, room: str) -> set[str]:
    """Asks who is in a room; without an answer, nobody."""
    answer = await client.ask(list_members={"room_id": room, "present": True})
    return {each["user_id"] for each in answer.get("members", {}).get("members", ())}


def compare(
    painters: Sequence[Painter], history: list[Frame], last_change: int, listed: Frame
) -> list[str]:
    """The faults that all painters of a room found, and what is wrong with the list of rooms."""
    found = [line for each in painters for line in each.judge(history, last_change, listed["room"])]
    names = frozenset(each.name for each in painters)
    found += [line for each in painters for line in each.picture.company.strangers(names)]
    last = listed.get("last_message")
    if listed["last_seq"] != len(history) or (last and shown(last)) != shown(history[-1]):
        found.append(f"the list of rooms has {listed} instead of {history[-1]}")
    return found


def _now() -> float:
    return asyncio.get_running_loop().time()
