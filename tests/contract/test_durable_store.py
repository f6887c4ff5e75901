"""Further guarantees of durable engines."""

from pathlib import Path

import pytest

from gen.chat import UserStatus
from tests.contract.engines import DURABLE, SHARED, Build, Engine, Place, place_of
from tests.support import message


@pytest.fixture(params=DURABLE, ids=lambda build: build.__name__)
def engine(request: pytest.FixtureRequest) -> Engine:
    build: Build = request.param
    return build(place_of(request, build))


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
