"""A full disk under a real server: senders are refused, readers go on."""

import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from tests.faults.flood import MEASURABLE
from tests.faults.held_disk import MODULE, read_only
from tests.faults.history import Outcome
from tests.faults.journal import Journal
from tests.faults.storm import ROOMS, Stage
from tests.faults.world import World
from tests.proxy.web_client import message, seqs, visitor

pytestmark = [
    pytest.mark.skipif(not MEASURABLE, reason="another process is limited as only Linux can"),
    pytest.mark.timeout(240),
]

# Number of refused attempts before there is room again.
REFUSED = 30
# Less than a page of the database.
LITTLE = 1024
REFUSAL = {
    "code": "UNAVAILABLE",
    "message": "the message could not be stored",
    "retryable": True,
}

Trouble = Callable[[World, Path], AbstractContextManager[None]]


@contextmanager
def full(world: World, _: Path) -> Iterator[None]:
    """Leaves no room for any write of the server, its log included."""
    pid = world.chat.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (LITTLE, before[1]))
    try:
        yield
    finally:
        # Unless it is not there any more.
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def sealed(_: World, folder: Path) -> AbstractContextManager[None]:
    """Makes the disk read-only."""
    return read_only(folder)


async def look_around(world: World) -> None:
    """Checks that readers go on, and that senders learn to retry."""
    for room in ROOMS:
        async with visitor(world.url) as client:
            page = (await client.ask(get_chat_history={"room_id": room}))["chat_history"]
            assert page["messages"]
            joined = (await client.ask(join={"room_id": room, "after_seq": 0}))["joined"]
            assert joined["recovered"]
            got = await client.take_until_seq(joined["last_seq"])
            assert seqs(got) == list(range(1, joined["last_seq"] + 1))
    async with visitor(world.url) as client:
        # A room without members so far.
        assert "joined" in await client.ask(join={"room_id": "elsewhere"})
        for _ in range(2):
            refused = await client.ask(chat_message=message("elsewhere", "hello", "visitor"))
            assert refused == {"error": REFUSAL}


async def suffer(
    world: World, folder: Path, trouble: Trouble, journal: Journal, *, kill: bool
) -> None:
    """Runs through the trouble, and perhaps ends the server before it is over."""
    with trouble(world, folder):
        goal = journal.refused + REFUSED
        await journal.until(lambda: journal.refused >= goal)
        before = journal.confirmed
        await look_around(world)
        assert journal.confirmed == before
        if kill:
            await world.chat.kill()
    if kill:
        await world.chat.start()


@pytest.mark.parametrize(("module", "trouble"), [("chat", full), (MODULE, sealed)])
async def test_full_disk_refuses_senders(tmp_path: Path, module: str, trouble: Trouble) -> None:
    async with Stage.running(tmp_path, chat_module=module) as stage:
        faults = [
            partial(suffer, stage.world, tmp_path, trouble, stage.journal, kill=kill)
            for kill in (False, True, False)
        ]
        await stage.outlive(faults)
        stage.check(cut_off=False)
        assert stage.journal.refused >= len(faults) * REFUSED
        outcomes = {send.outcome for send in stage.history.sends}
        assert outcomes == {Outcome.CONFIRMED, Outcome.REFUSED}
