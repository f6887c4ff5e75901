"""Further guarantees of durable engines."""

from pathlib import Path

import pytest

from chat.storage.base import Range
from gen.chat import UserStatus
from tests.contract.engines import DURABLE, SHARED, Build, Engine, Place, place_of
from tests.support import message, seqs


@pytest.fixture(params=DURABLE, ids=lambda build: build.__name__)
def engine(request: pytest.FixtureRequest) -> Engine:
    build: Build = request.param
    return build(place_of(request, build))


async def test_history_survives_reopening(engine: Engine) -> None:
    async with engine.open() as store:
        await store.append([message(content=f"text {n}", key=str(n)) for n in range(5)])
        before = await store.history("room", Range(5))
    async with engine.open() as store:
        assert await store.history("room", Range(5)) == before
        assert await store.last_seq("room") == 5
        [result] = await store.append([message(key="new")])
        assert result.seq == 6


async def test_repeat_after_reopening_gives_the_original(engine: Engine) -> None:
    async with engine.open() as store:
        [original] = await store.append([message(content="first", key="1")])
    async with engine.open() as store:
        sent = [message(content="second", key="1"), message(key="2")]
        again, new = await store.append(sent)
        assert again is not sent[0]
        assert again == original
        assert new is sent[1]
        assert new.seq == 2
    assert seqs(engine.announced) == [1, 2]


async def test_epoch_survives_reopening(engine: Engine) -> None:
    async with engine.open() as store:
        epoch = store.epoch
    async with engine.open() as store:
        assert store.epoch == epoch


async def test_epochs_of_two_files_differ(tmp_path: Path) -> None:
    for build in set(DURABLE) - set(SHARED):
        epochs = set()
        for name in ("a", "b"):
            folder = tmp_path / build.__name__ / name
            folder.mkdir(parents=True)
            async with build(Place(folder)).open() as store:
                epochs.add(store.epoch)
        assert len(epochs) == 2


async def test_users_survive_reopening_inactive(engine: Engine) -> None:
    async with engine.open() as store:
        await store.upsert_user("ada", "Ada", "ada@example.com")
        await store.append([message(sender_id="bob", key="1")])
        store.set_active("ada", True)
    async with engine.open() as store:
        users = await store.list_users("", 5)
    assert [(user.id, user.name, user.email) for user in users] == [
        ("ada", "Ada", "ada@example.com"),
        ("bob", "bob", ""),
    ]
    assert {user.status for user in users} == {UserStatus.INACTIVE}
