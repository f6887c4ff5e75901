"""The guarantees of `chat.storage.base` about users, on every engine."""

from chat.storage.base import Store
from gen.chat import UserStatus
from tests.support import message


async def test_sender_becomes_a_user(store: Store) -> None:
    assert await store.get_user("ada") is None
    await store.append([message(sender_id="ada", key="1")])
    user = await store.get_user("ada")
    assert user is not None
    assert (user.id, user.name, user.email) == ("ada", "ada", "")
    assert user.status == UserStatus.INACTIVE


async def test_user_is_created_and_replaced(store: Store) -> None:
    created = await store.upsert_user("ada", "Ada", "ada@example.com", 7)
    assert await store.get_user("ada") == created
    assert await store.list_users("", 2) == await store.get_users(["ada"]) == [created]
    assert (created.name, created.email, created.tone) == ("Ada", "ada@example.com", 7)
    replaced = await store.upsert_user("ada", "Lady Ada", "")
    assert await store.get_user("ada") == replaced
    assert (replaced.name, replaced.email, replaced.tone) == ("Lady Ada", "", None)


async def test_sending_keeps_the_user_name(store: Store) -> None:
    await store.upsert_user("ada", "Ada", "ada@example.com")
    await store.append([message(sender_id="ada", key="1")])
    user = await store.get_user("ada")
    assert user is not None
    assert (user.name, user.email) == ("Ada", "ada@example.com")


async def test_users_are_listed_by_id(store: Store) -> None:
    ids = ["b", "B", "10", "9", "ä", "z", "字", "😀", "\ue000"]
    for user_id in ids:
        await store.upsert_user(user_id, user_id, "")
    in_order = sorted(ids)
    assert [user.id for user in await store.list_users("", 50)] == in_order
    assert [user.id for user in await store.list_users("", 3)] == in_order[:3]
    assert [user.id for user in await store.list_users(in_order[2], 3)] == in_order[3:6]
    # The cursor is any id, of an existing user or not.
    assert [user.id for user in await store.list_users("C", 1)] == ["b"]
    assert await store.list_users(in_order[-1], 3) == []


async def test_activity_shows_in_all_reads(store: Store) -> None:
    store.set_active("ada", True)
    created = await store.upsert_user("ada", "Ada", "")
    assert created.status == UserStatus.ACTIVE
    [listed] = await store.list_users("", 5)
    assert listed.status == UserStatus.ACTIVE
    store.set_active("ada", False)
    store.set_active("ada", False)
    found = await store.get_user("ada")
    assert found is not None
    assert found.status == UserStatus.INACTIVE


async def test_activity_creates_no_user(store: Store) -> None:
    store.set_active("ada", True)
    assert await store.get_user("ada") is None
