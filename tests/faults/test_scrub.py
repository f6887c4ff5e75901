"""What was deleted goes from every file, also if the process is killed or power fails meanwhile."""

import asyncio
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.metrics import StoreMetrics
from chat.storage.changes import Change
from chat.storage.listener import Listener
from chat.storage.sqlite import SqliteStore
from chat.storage.sqlite.offline import scrub_file
from gen.chat import ChangeMessageRequest, ChatMessage, Delete
from tests.faults.disk import Disk, Loss, mounted, put
from tests.support import MODEL, eventually, message

NAME = "chat.db"
SIZES = (20, 2_000, 16_000)
# Nothing else has so many of these letters in a row.
SECRET = re.compile(rb"[Q-Z]{16}")


def secret(random: Random, size: int) -> str:
    return "".join(random.choices("QRSTUVWXYZ", k=size))


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def found(folder: Path) -> set[str]:
    """The files of a folder with a piece of a secret in them."""
    return {name for name, content in files(folder).items() if SECRET.search(content)}


async def open_store(
    folder: Path,
    fold_bytes: int = 1 << 20,
    scrub_seconds: float = 3600.0,
    metrics: StoreMetrics | None = None,
) -> SqliteStore:
    return await SqliteStore.open(
        str(folder / NAME),
        Listener(),
        1 << 20,
        fold_bytes,
        metrics,
        None,
        scrub_seconds=scrub_seconds,
    )


async def fill(
    store: SqliteStore, random: Random, number: int = 30, name: str = ""
) -> list[ChatMessage]:
    """Stores messages of ada with secrets, and others of bob between them; returns the former."""
    sent = []
    for nth in range(number):
        text = secret(random, SIZES[nth % 3])
        kept = "kept " * random.randrange(1, 400)
        sent += await store.append(
            [
                message(f"r{nth % 4}", text, key=f"a{name}{nth}"),
                message("r1", kept, sender_id="bob", key=f"b{name}{nth}"),
            ]
        )
    return sent[::2]


async def remove(store: SqliteStore, sent: list[ChatMessage], how: str) -> None:
    """Takes all secrets away."""
    if how == "erase":
        while not (await store.erase("ada", 10)).done:
            pass
        return
    for each in sent:
        request = ChangeMessageRequest(each.room_id, each.seq, each.sender_id)
        if how == "delete":
            request.delete = Delete()
        else:
            request.content = "harmless"
        await store.change(Change(request))


async def kept(folder: Path) -> list[tuple[object, ...]]:
    """What is left, as an SQL tool reads it."""
    connection = apsw.Connection(str(folder / NAME), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        assert connection.pragma("integrity_check") == "ok"
        return connection.execute(
            "SELECT position, sender_id, id, content FROM messages ORDER BY position"
        ).fetchall()
    finally:
        connection.close()


@pytest.mark.parametrize("how", ["delete", "edit", "erase"])
@pytest.mark.parametrize("when", ["in the journal", "while it is folded", "behind that"])
async def test_killed_server_leaves_it_to_the_next(tmp_path: Path, how: str, when: str) -> None:
    random = Random(f"{how} {when}")  # noqa: S311 - for a test
    live, left = tmp_path / "live", tmp_path / "left"
    live.mkdir()
    store = await open_store(live, 1 << 30 if when == "in the journal" else 30_000)
    sent = await fill(store, random)
    if when == "behind that":
        await store.close()
        store = await open_store(live)
    await remove(store, sent, how)
    shutil.copytree(live, left)
    assert found(left)
    await store.close()
    scrub_file(left / NAME)
    assert found(left) == set()
    texts = [str(row[3]) for row in await kept(left)]
    assert sum(text.startswith("kept") for text in texts) >= 25


async def test_running_server_scrubs_beside_commits(tmp_path: Path) -> None:
    random = Random(5)  # noqa: S311 - for a test
    metrics = StoreMetrics()
    store = await open_store(tmp_path, 100_000, 0.0, metrics)
    await remove(store, await fill(store, random), "delete")
    # A reader of an old state keeps the log; it is waited for.
    reader = apsw.Connection(str(tmp_path / NAME), flags=apsw.SQLITE_OPEN_READONLY)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM meta").fetchall()
    await remove(store, await fill(store, random, 6, "again"), "edit")
    assert metrics.scrub_waiting_seconds >= 0
    await fill_harmless(store)
    reader.close()
    await eventually(lambda: metrics.scrub_waiting_seconds == 0 and not found(tmp_path))
    assert sum(metrics.scrub_seconds.counts)
    assert metrics.scrub_failures == 0
    await store.close()
    assert found(tmp_path) == set()


async def fill_harmless(store: SqliteStore) -> None:
    for nth in range(50):
        await store.append([message("r1", "more", sender_id="bob", key=f"c{nth}")])


async def test_nothing_is_written_without_a_deletion(tmp_path: Path) -> None:
    metrics = StoreMetrics()
    store = await open_store(tmp_path, 1 << 20, 0.0, metrics)
    await fill(store, Random(6))  # noqa: S311 - for a test
    before = (tmp_path / f"{NAME}-wal").stat().st_mtime_ns
    await asyncio.sleep(0.2)  # several looks
    assert (tmp_path / f"{NAME}-wal").stat().st_mtime_ns == before
    assert sum(metrics.scrub_seconds.counts) == 0
    await store.close()


@dataclass(frozen=True)
class Scrubbed:
    """A disk on which a database was scrubbed.

    Attributes:
        begin: the moment before it.
        rows: what was there then, but for what was to go.
    """

    disk: Disk
    begin: int
    rows: list[tuple[object, ...]]


@pytest.fixture(scope="module")
def scrubbed(tmp_path_factory: pytest.TempPathFactory) -> Scrubbed:
    return asyncio.run(make_scrubbed(tmp_path_factory.mktemp("scrub")))


async def make_scrubbed(folder: Path) -> Scrubbed:
    store = await open_store(folder, 50_000)
    await remove(store, await fill(store, Random(7)), "delete")  # noqa: S311 - for a test
    await store.close()
    rows = await kept(folder)
    disk = Disk(files(folder))
    begin = disk.now
    with mounted(disk):
        scrub_file(folder / NAME)
    assert found(folder) == set()
    return Scrubbed(disk, begin, rows)


@contextmanager
def a_folder(disk: Disk, moment: int, loss: Loss, random: Random) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "data"
        put(folder, disk.after_power_loss(moment, loss, random))
        yield folder


@settings(MODEL, max_examples=20)
@given(share=st.floats(0, 1), loss=st.sampled_from(Loss), random=st.randoms(use_true_random=True))
def test_power_fails_at_any_step(
    scrubbed: Scrubbed, share: float, loss: Loss, random: Random
) -> None:
    """With `Loss.NOTHING` the process was killed, and the machine went on."""
    disk, begin = scrubbed.disk, scrubbed.begin
    moment = begin + round(share * (disk.now - begin))
    with a_folder(disk, moment, loss, random) as folder:
        # Until the end it is noted that something waits.
        connection = apsw.Connection(str(folder / NAME))
        is_noted = connection.execute("SELECT count(*) FROM meta WHERE key LIKE 'scrub%'").get
        connection.close()
        assert is_noted or not found(folder)
        assert asyncio.run(kept(folder)) == scrubbed.rows
        scrub_file(folder / NAME)
        assert found(folder) == set()
        assert asyncio.run(kept(folder)) == scrubbed.rows
