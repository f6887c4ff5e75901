"""Power fails at any moment: what became of messages is there, up to some change, and no further.

Changes are numbered, so what is found has to be the picture behind one of them: of all texts and
reactions at once, and of a change that nobody was told later than the failure.
"""

import asyncio
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.storage.base import Range
from chat.storage.changes import Change, state_of
from chat.storage.listener import Listener
from chat.storage.sqlite import SqliteStore
from gen.chat import ChangeMessageRequest, ChatMessage, Delete, MessageExtra
from tests.faults.disk import Disk, Loss, mounted, put
from tests.faults.story import NAME, run
from tests.support import MODEL, message

ROOM = "room"
ALL = Range(1 << 20, after_seq=0)

pytestmark = pytest.mark.timeout(300)

Look = tuple[str, str, int]
"""Of a message: its text, the application's data, and how many react."""


def look(found: ChatMessage) -> Look:
    state = state_of(found)
    reactions = state.reactions if state else []
    return found.content, found.extra.data, sum(each.count for each in reactions)


@dataclass
class Story:
    """What became of the messages of a room.

    Attributes:
        disk: the disk of the store.
        looks: of each message that changed, by the number of the change.
        changed: moments, each with the newest change that was told until then.
        marked: moments, each with the position of a mark that was told then.
    """

    disk: Disk
    looks: list[tuple[int, Look]] = field(default_factory=list)
    changed: list[tuple[int, int]] = field(default_factory=list)
    marked: list[tuple[int, int]] = field(default_factory=list)

    def picture(self, change: int) -> dict[int, Look]:
        """Of all messages that changed until then, by `seq`."""
        return dict(self.looks[:change])

    def confirmed(self, moment: int) -> tuple[int, int]:
        """The change and the mark that were told before a moment."""
        return (
            max((number for then, number in self.changed if then <= moment), default=0),
            max((seq for then, seq in self.marked if then <= moment), default=0),
        )


def original(seq: int) -> ChatMessage:
    sent = message(ROOM, f"original {seq} " * (1 + seq % 7), key=str(seq))
    if seq % 3 == 0:
        sent.extra = MessageExtra(data=f"data {seq}", mentions=["ben"])
    return sent


async def tell(folder: Path, fold_bytes: int, steps: int) -> Story:
    """Lets a store take messages and changes of each kind; some share a commit."""
    story = Story(Disk({}))
    with mounted(story.disk, asyncio.get_running_loop()):
        listener = Listener(
            changed=lambda spans: story.changed.append((story.disk.now, spans[-1].last_change)),
            marked=lambda marks: story.marked.append((story.disk.now, marks[-1].mark.seq)),
        )
        store = await SqliteStore.open(str(folder / NAME), listener, 1 << 20, fold_bytes)
        for seq in range(1, steps + 1):
            await store.append([original(seq)])
            outcomes = await asyncio.gather(
                *(store.change(Change(each)) for each in requests(seq)),
                store.mark("ben", ROOM, seq, back=False),
            )
            changed = [each for each in outcomes if isinstance(each, ChatMessage)]
            story.looks += [(each.seq, look(each)) for each in changed]
        await store.close()
    return story


def requests(step: int) -> list[ChangeMessageRequest]:
    """Changes that hold not yet: of the newest message, and of older ones."""
    asked = [ChangeMessageRequest(ROOM, step, "ben", react="x")]
    if step % 2:
        asked.append(ChangeMessageRequest(ROOM, step, "ada", content=f"edited {step}"))
    if step > 4 and step % 4 == 0:
        asked.append(ChangeMessageRequest(ROOM, step - 4, "ada", delete=Delete()))
        asked.append(ChangeMessageRequest(ROOM, step - 3, "ada", content=f"again {step}"))
    return asked


@pytest.fixture(scope="module", params=[(1 << 30, 30), (2000, 60)], ids=["journal", "folding"])
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Story:
    fold_bytes, steps = request.param
    return run(tell(tmp_path_factory.mktemp("disk"), fold_bytes, steps))


async def recover(disk: Disk, story: Story, moment: int, folder: Path) -> None:
    """Opens what is left, and compares it with the story."""
    with mounted(disk, asyncio.get_running_loop()):
        store = await SqliteStore.open(str(folder / NAME), Listener(), 1 << 20, 2000)
        page = await store.history(ROOM, ALL)
        change, mark = story.confirmed(moment)
        assert page.last_change >= change
        picture = story.picture(page.last_change)
        for found in page.messages:
            assert look(found) == picture.get(found.seq, look(original(found.seq)))
        changes, _ = await store.changes(ROOM, 0, 1000)
        assert changes.last_change == page.last_change
        assert {each.seq for each in changes.messages} == picture.keys()
        assert (await store.mark("ben", ROOM, 0, back=False)).seq >= mark
        # It goes on where it left off; a repeat changes nothing.
        for seq in (1, max(1, len(page.messages))):
            if page.messages:
                request = ChangeMessageRequest(ROOM, seq, "ada", delete=Delete())
                for _ in range(2):
                    assert (await store.change(Change(request))).content == ""
        await store.close()


@settings(MODEL, max_examples=15)
@given(share=st.floats(0, 1), loss=st.sampled_from(Loss), random=st.randoms(use_true_random=True))
def test_changes_survive_power_loss(story: Story, share: float, loss: Loss, random: Random) -> None:
    moment = round(share * story.disk.now)
    files = story.disk.after_power_loss(moment, loss, random)
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "data"
        put(folder, files)
        run(recover(Disk(files), story, moment, folder))
