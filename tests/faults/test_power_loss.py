"""Power fails at any moment: the store opens again, with all that was confirmed.

It always holds the effect of a whole number of calls of `append`: at least of the
announced ones, and nothing else.
"""

import asyncio
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.storage.listener import Listener
from chat.storage.sqlite import SqliteStore
from tests.faults.disk import Disk, Loss, Write, mounted, put
from tests.faults.story import NAME, Found, Story, check, go_on, read, run, tell
from tests.support import MODEL

FOLDING = 3000

pytestmark = pytest.mark.timeout(300)

losses = st.sampled_from(Loss)
# The moment of the power failure: a share of the log.
shares = st.floats(0, 1)
randoms = st.randoms(use_true_random=True)


@pytest.fixture(scope="module", params=[(1 << 30, 60), (FOLDING, 330)], ids=["journal", "folding"])
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Two lives of a store: in the second of two stories the log starts over in each."""
    folder = tmp_path_factory.mktemp("disk")
    fold_bytes, steps = request.param
    return run(tell(folder, fold_bytes, steps, size=10))


@contextmanager
def a_folder(files: Mapping[str, bytes]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "data"
        put(folder, files)
        yield folder


async def recover(disk: Disk, folder: Path, *, further: bool = True) -> tuple[int, Found]:
    """Opens what is left; returns the moment of reading, and the content.

    Args:
        disk: holds the files.
        folder: the folder of the files.
        further: whether to store more then.
    """
    with mounted(disk, asyncio.get_running_loop()):
        store = await SqliteStore.open(str(folder / NAME), Listener(), 1 << 20, FOLDING)
        try:
            found = await read(store)
            moment = disk.now
            if further:
                await go_on(store, found)
        finally:
            await store.close()
    return moment, found


def whole(path: Path) -> bool:
    """Whether SQLite finds a file intact."""
    connection = apsw.Connection(str(path))
    try:
        return bool(connection.pragma("integrity_check") == "ok")
    finally:
        connection.close()


@settings(MODEL, max_examples=80)
@given(share=shares, loss=losses, random=randoms)
def test_confirmed_messages_survive_power_loss(
    story: Story, share: float, loss: Loss, random: Random
) -> None:
    moment = round(share * story.disk.now)
    files = story.disk.after_power_loss(moment, loss, random)
    with a_folder(files) as folder:
        _, found = run(recover(Disk(files), folder))
        check(story, moment, found)
        assert whole(folder / NAME)


@settings(MODEL, max_examples=40)
@given(
    share=shares, killed=st.booleans(), loss=losses, again=shares, finally_=losses, random=randoms
)
def test_recovered_messages_survive_second_loss(
    story: Story,
    share: float,
    killed: bool,
    loss: Loss,
    again: float,
    finally_: Loss,
    random: Random,
) -> None:
    """Power fails again during or after recovery, from a kill or a failure."""
    moment = round(share * story.disk.now)
    if killed:
        loss = Loss.NOTHING
    files = story.disk.after_power_loss(moment, loss, random)
    disk = story.disk.killed(moment) if killed else Disk(files)
    start = disk.now
    with a_folder(files) as folder:
        seen_at, seen = run(recover(disk, folder, further=False))
    end = start + round(again * (disk.now - start))
    files = disk.after_power_loss(end, finally_, random)
    with a_folder(files) as folder:
        _, found = run(recover(Disk(files), folder))
        check(story, moment, found)
        if end >= seen_at:
            assert (found.epoch, found.rooms) == (seen.epoch, seen.rooms)
            assert seen.users.items() <= found.users.items()


def last_life(story: Story) -> dict[str, bytes]:
    """The files just after the last announcement."""
    moment, _ = story.announced[-1]
    return story.disk.after_power_loss(moment, Loss.NOTHING)


@settings(MODEL, max_examples=30)
@given(share=shares)
def test_truncated_log_keeps_a_prefix(story: Story, share: float) -> None:
    files = last_life(story)
    log = files[f"{NAME}-wal"]
    files[f"{NAME}-wal"] = log[: round(share * len(log))]
    with a_folder(files) as folder:
        _, found = run(recover(Disk(files), folder))
        check(story, 0, found)


@pytest.mark.parametrize(("synchronous", "left"), [("FULL", 1), ("NORMAL", 0)])
def test_simulated_disk_forgets_unsynced_writes(
    tmp_path: Path, synchronous: str, left: int
) -> None:
    """The simulated disk itself: a store without syncs would be found out."""
    disk = Disk({})
    with mounted(disk):
        connection = apsw.Connection(str(tmp_path / NAME))
        connection.pragma("journal_mode", "WAL")
        connection.execute("CREATE TABLE notes (text); PRAGMA wal_checkpoint")
        connection.pragma("synchronous", synchronous)
        connection.execute("INSERT INTO notes VALUES ('here')")
        files = disk.after_power_loss(disk.now, Loss.EVERYTHING)
        connection.close()
    with a_folder(files) as folder:
        connection = apsw.Connection(str(folder / NAME))
        assert connection.execute("SELECT count(*) FROM notes").get == left
        connection.close()


def test_recorded_log_restarts_at_checkpoint(story: Story) -> None:
    """So moments within a checkpoint, and in the log behind it, are covered."""
    files = {each.file for each in story.disk.log if isinstance(each, Write)}
    assert max(starts(story, file) for file in files) >= (2 if story.fold_bytes == FOLDING else 1)


def starts(story: Story, file: int) -> int:
    """Number of times that the header of a write-ahead log was written."""
    return sum(
        isinstance(each, Write) and (each.file, each.offset, len(each.data)) == (file, 0, 32)
        for each in story.disk.log
    )
