"""A store's commands, their confirmations and moments, and the check of what is left."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from operator import is_
from pathlib import Path
from typing import NamedTuple, TypeVar

import uvloop

from chat.storage.base import Range
from chat.storage.listener import Listener
from chat.storage.sqlite import SqliteStore
from gen.chat import ChatMessage
from tests.faults.disk import Disk, mounted
from tests.support import message

ROOMS = [f"room {n}" for n in range(5)]
EVERYTHING = Range(1 << 20, after_seq=0)
NAME = "chat.db"

T = TypeVar("T")


def run(coroutine: Coroutine[object, object, T]) -> T:
    """Runs a coroutine on the event loop of production."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)


class Stored(NamedTuple):
    """A stored message."""

    room_id: str
    seq: int
    id: str
    sender_id: str
    sent_at: datetime
    content: str


def stored(message: ChatMessage) -> Stored:
    """The compared fields of a message; fast, as there are many."""
    return Stored(**{name: getattr(message, name) for name in Stored._fields})


@dataclass
class Story:
    """What a store was asked, and when it was done.

    Attributes:
        disk: the disk of the store.
        fold_bytes: setting of the store.
        messages: announced messages, in that order.
        announced: moments, each with the number of messages announced until then.
        calls: number of messages after each completed call of `append`.
        names: moments at which a name of the user "ada" was known to be stored; the name
            is the index in this list.
        epochs: moments at which a store was open, with the epochs then.
    """

    disk: Disk
    fold_bytes: int
    messages: list[Stored] = field(default_factory=list)
    announced: list[tuple[int, int]] = field(default_factory=list)
    calls: set[int] = field(default_factory=lambda: {0})
    names: list[int] = field(default_factory=list)
    epochs: list[tuple[int, str]] = field(default_factory=list)

    def listen(self, messages: Sequence[ChatMessage]) -> None:
        self.messages += map(stored, messages)
        self.announced.append((self.disk.now, len(self.messages)))

    def confirmed(self, moment: int) -> int:
        """Number of messages announced before a moment."""
        return max((number for then, number in self.announced if then <= moment), default=0)


@dataclass
class Found:
    """The content of a store."""

    epoch: str
    rooms: dict[str, list[Stored]]
    users: dict[str, str]

    @property
    def number(self) -> int:
        return sum(map(len, self.rooms.values()))


async def read(store: SqliteStore) -> Found:
    """Reads a whole store, and checks that its positions have no gap."""
    rooms = {}
    for room in ROOMS:
        page = await store.history(room, EVERYTHING)
        assert not page.has_more
        rooms[room] = [stored(each) for each in page.messages]
        assert [each.seq for each in rooms[room]] == list(range(1, await store.last_seq(room) + 1))
    users = {user.id: user.name for user in await store.list_users("", 100)}
    return Found(store.epoch, rooms, users)


def check(story: Story, moment: int, found: Found) -> None:
    """Checks that all confirmed messages, and only sent ones, are found."""
    assert found.number in story.calls
    assert found.number >= story.confirmed(moment)
    confirmed = story.messages[: found.number]
    for room, messages in found.rooms.items():
        assert messages == [each for each in confirmed if each.room_id == room]
    assert {each.sender_id for each in confirmed} <= found.users.keys()
    named = sum(then <= moment for then in story.names)
    if named:
        assert named - 1 <= int(found.users["ada"]) < len(story.names)
    for then, epoch in story.epochs:
        assert then > moment or found.epoch == epoch


async def go_on(store: SqliteStore, found: Found) -> None:
    """Checks that the store continues where it left off."""
    for room, messages in found.rooms.items():
        again = [message(room, key=each.id, sender_id=each.sender_id) for each in messages[-3:]]
        sent = [*again, message(room, key="new")]
        results = await store.append(sent)
        assert [stored(each) for each in results[:-1]] == messages[-3:]
        assert list(map(is_, results, sent)) == [False] * len(again) + [True]
        assert results[-1].seq == len(messages) + 1


@asynccontextmanager
async def opened(story: Story, folder: Path) -> AsyncIterator[SqliteStore]:
    """Opens a store whose announcements are recorded in the story."""
    store = await SqliteStore.open(
        str(folder / NAME), Listener(story.listen), 1 << 20, story.fold_bytes
    )
    story.epochs.append((story.disk.now, store.epoch))
    yield store
    await store.close()


async def tell(folder: Path, fold_bytes: int, steps: int, size: int) -> Story:
    """Lets a store take commits of many shapes, be closed, and take more."""
    story = Story(Disk({}), fold_bytes)
    keys = map(str, itertools.count())
    with mounted(story.disk, asyncio.get_running_loop()):
        for life in range(2):
            async with opened(story, folder) as store:
                for step in range(life * steps, (life + 1) * steps):
                    await take(story, store, step, keys, size)
    return story


async def take(story: Story, store: SqliteStore, step: int, keys: Iterator[str], size: int) -> None:
    """Makes some calls in one turn of the event loop, and now and then stores a user."""
    number = len(story.messages)
    futures = []
    for call in range(1 + step % 3):
        count = 1 + (step * 7 + call * 3) % 3
        number += count
        story.calls.add(number)
        futures.append(
            store.append(
                [
                    message(
                        ROOMS[(step + call + n) % len(ROOMS)],
                        f"{step} " * (1 + (step * 31 + n) % size),
                        sender_id=f"user {step // 10}",
                        key=next(keys),
                    )
                    for n in range(count)
                ]
            )
        )
    await asyncio.gather(*futures)
    if step % 8 == 0:
        await store.upsert_user("ada", f"{len(story.names)}", "")
        story.names.append(story.disk.now)
