"""Members whose history is replaced by another one: some of what they saw is lost."""

from collections.abc import AsyncIterator

import pytest
from grpclib.client import Channel

from chat.api.context import Context
from gen.chat import (
    ChangeMessageRequest,
    ChatServiceStub,
    Join,
    Joined,
    JoinFollow,
    Leave,
    RelayCommand,
    Room,
    RoomChanges,
    SetRoomRequest,
)
from tests.chat.forgetful import ForgetfulStore, forgetful
from tests.chat.served import served
from tests.support import ChatCall, RelayCall, message, seqs


@pytest.fixture
async def server() -> tuple[Context, ForgetfulStore]:
    return await forgetful()


@pytest.fixture
def store(server: tuple[Context, ForgetfulStore]) -> ForgetfulStore:
    return server[1]


@pytest.fixture
async def channel(server: tuple[Context, ForgetfulStore]) -> AsyncIterator[Channel]:
    async with served(server[0]) as channel:
        yield channel


async def test_member_is_told_from_where_its_room_goes_on(
    store: ForgetfulStore, ada: ChatCall, relay: RelayCall
) -> None:
    await ada.enter("room")
    relay.batch(RelayCommand(ref=7, join=Join("room")))
    await relay.event()
    for number in range(5):
        await ada.post(message(key=str(number)))
    assert seqs(event.chat_message for event in await relay.events(5)) == [1, 2, 3, 4, 5]

    store.lose("room", 2)
    told = Joined("room", store.epoch, 3, recovered=False)
    assert (await ada.receive()).joined == told
    event = await relay.event()
    assert (event.ref, event.joined) == (7, told)

    assert (await ada.post(message(key="4"))).seq == 4
    assert (await relay.event()).chat_message.seq == 4


async def test_follower_goes_on_from_the_change_that_is_left(
    store: ForgetfulStore, stub: ChatServiceStub, ada: ChatCall
) -> None:
    ada.join("room", follow=[JoinFollow(JoinFollow.CHANGES)])
    assert (await ada.receive()).joined.last_change == 0
    for key in "12":
        await ada.post(message(key=key))
    await stub.change_message(ChangeMessageRequest("room", 1, "ada", react="+1"))
    assert (await ada.receive()).changes.last_change == 1
    store.lose("room", 1)
    told = Joined("room", store.epoch, 1, recovered=False, last_change=1)
    assert (await ada.receive()).joined == told
    await stub.change_message(ChangeMessageRequest("room", 1, "ada", unreact="+1"))
    changes = (await ada.receive()).changes
    assert (changes.after_change, changes.last_change) == (1, 2)
    # What is known of the room is of this history, too.
    room = (await stub.set_room(SetRoomRequest(Room("room", "Title"), 0))).room
    assert (await ada.receive()).changes == RoomChanges("room", 2, 3, room=room)
    store.lose("room", 1)
    told = Joined("room", store.epoch, 0, recovered=False, last_change=3)
    assert (await ada.receive()).joined == told


async def test_epoch_of_before_is_not_recovered(store: ForgetfulStore, ada: ChatCall) -> None:
    await store.append([message(key=key) for key in "123"])
    before = store.epoch
    store.lose("room", 1)
    ada.join("room", after_seq=1, epoch=before)
    assert (await ada.receive()).joined == Joined("room", store.epoch, 2, recovered=False)


async def test_replay_ends_where_the_history_does(
    store: ForgetfulStore, ada: ChatCall, relay: RelayCall
) -> None:
    await store.append([message(key=str(number)) for number in range(5)])
    before = store.epoch
    store.pages.clear()
    ada.join("room", after_seq=1)
    assert (await ada.receive()).joined == Joined("room", before, 5, recovered=True)
    await store.reading.wait()
    store.reading.clear()
    relay.batch(RelayCommand(ref=7, join=Join("room", after_seq=1)))
    assert (await relay.event()).joined == Joined("room", before, 5, recovered=True)
    await store.reading.wait()

    store.lose("room", 3)
    store.pages.set()
    told = Joined("room", store.epoch, 2, recovered=False)
    assert (await ada.receive()).joined == told
    event = await relay.event()
    assert (event.ref, event.joined) == (7, told)
    assert (await ada.post(message(key="new"))).seq == 3
    assert (await relay.event()).chat_message.seq == 3


async def test_room_is_followed_while_somebody_is_in_it(
    store: ForgetfulStore, ada: ChatCall, relay: RelayCall
) -> None:
    relay.batch(RelayCommand(ref=1, chat_message=message("other", key="1")))
    await relay.event()
    assert store.followed == set()
    await ada.enter("room")
    await ada.enter("room")
    relay.batch(RelayCommand(ref=2, join=Join("room")))
    await relay.event()
    ada.leave("room")
    await ada.receive()
    assert store.followed == {"room"}
    relay.batch(RelayCommand(ref=3, leave=Leave("room")))
    await relay.event()
    assert store.followed == set()
