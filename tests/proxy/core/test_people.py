"""Who is in rooms and who types there, as the server, clients and links come and go."""

from contextlib import AbstractContextManager

import pytest

import proxy
from gen.chat import (
    ChatMessage,
    Error,
    ErrorCode,
    Join,
    Joined,
    JoinFollow,
    RelayCommand,
    RelayEvent,
    RoomPresence,
    Typists,
    Wanted,
)
from proxy.core.outlet import Paces
from proxy.core.room import Room
from proxy.core.switchboard import Switchboard
from proxy.core.telling_typists import CROWD
from tests.clock import ClockLoop, turns
from tests.proxy.relay_model import DirectOutbox, Guest, Recorder, decoded, tell
from tests.proxy.web_client import Frame

PEOPLE = [JoinFollow(JoinFollow.TYPING), JoinFollow(JoinFollow.PRESENCE)]
KEEP = 15.0
GONE = Paces().gone


class Watcher(Recorder):
    """A client that keeps what it is told, while it reads."""

    reads = True

    def write_news(self, frame: bytes) -> bool:
        if self.reads:
            self.write(frame)
        return self.reads


class World:
    """A room "lobby" that a switchboard is asked for, and what it tells the server."""

    def __init__(self, loop: ClockLoop) -> None:
        self.loop = loop
        self.asked: list[RelayCommand] = []
        outbox = DirectOutbox(lambda item, size: self.asked.append(decoded(item, size)))
        self.switchboard = Switchboard(proxy.Config(), outbox)
        self.switchboard.connected()
        self._pin: AbstractContextManager[Room] = self.switchboard.rooms.pinned("lobby")
        self.room = self._pin.__enter__()

    def tell(self, *events: RelayEvent) -> None:
        tell(self.switchboard, *events)

    def answer(self) -> None:
        """The server answers the last `join`."""
        joined = Joined("lobby", "this", 0, recovered=bool(self.room.epoch), last_change=0)
        self.tell(RelayEvent(self.room.join_ref, joined=joined))

    def present(self, *names: str) -> None:
        """The server tells who is there."""
        self.tell(RelayEvent(room_presence=RoomPresence("lobby", len(names), list(names))))

    def enter(self, user_id: str = "", *follow: JoinFollow) -> Watcher:
        client = Watcher()
        join = Join("lobby", follow=list(follow), user_id=user_id)
        self.switchboard.rooms.add_member(client, self.room, join)
        return client

    def told(self) -> list[Typists | RoomPresence]:
        """Returns what the server was told of people since this was called last."""
        asked, self.asked = self.asked, []
        assert all(command.ref for command in asked)
        commands = [command.command for command in asked]
        return [each for each in commands if isinstance(each, Typists | RoomPresence)]

    def reconnect(self, *, presence: bool = True) -> None:
        self.switchboard.disconnected()
        self.switchboard.connected(presence=presence)


@pytest.fixture
async def world(loop: ClockLoop) -> World:
    """A world where the room is live."""
    world = World(loop)
    world.answer()
    return world


def here(*names: str) -> Frame:
    return {"room_presence": {"room_id": "lobby", "count": len(names), "user_ids": list(names)}}


async def test_followers_are_shown_who_is_there(world: World) -> None:
    ada, plain = world.enter("ada", *PEOPLE), world.enter("eve")
    # Nothing is known yet.
    assert ada.take() == []
    world.present()
    # Nobody misses oneself.
    assert ada.take() == [here("ada", "eve")]
    world.present("ada", "eve")
    assert ada.take() == []
    ben = world.enter("ben", *PEOPLE)
    assert ben.take() == [here("ada", "ben", "eve")]
    world.present("ada", "ben", "eve", "zoe")
    assert ada.take() == ben.take() == [here("ada", "ben", "eve", "zoe")]
    # Whoever goes is there until the server says otherwise.
    world.switchboard.close(ben)
    await world.loop.pass_time(10)
    assert ada.take() == []
    world.present("ada", "eve", "zoe")
    assert ada.take() == [here("ada", "eve", "zoe")]
    assert plain.take() == ben.take() == []


async def test_one_who_was_there_for_a_moment_is_gone(world: World) -> None:
    world.present()
    ada = world.enter("ada", *PEOPLE)
    ada.take()
    ben = world.enter("ben", *PEOPLE)
    zoe = world.enter("", *PEOPLE)
    assert zoe.take() == [here("ada", "ben")]
    world.switchboard.close(ben)
    # Not at once: the server may be about to tell that ben stays there for a while.
    await world.loop.pass_time(GONE - 1)
    assert zoe.take() == []
    await world.loop.pass_time(1)
    assert zoe.take() == [here("ada")]
    # However often: followers are told every five seconds.
    for _ in range(5):
        world.switchboard.close(world.enter("ben", *PEOPLE))
        assert world.enter("", *PEOPLE).take() == [here("ada")]
    await world.loop.pass_time(GONE)
    assert ada.take() == [here("ada")] * 2


async def test_one_who_came_and_went_does_not_seem_to_go_and_come(world: World) -> None:
    """The server hears of a user late, and tells of it later still, when it has gone again."""
    world.present()
    zoe, ada = world.enter("zoe", *PEOPLE), world.enter("ada", *PEOPLE)
    ben, eve = world.enter("ben"), world.enter("", *PEOPLE)
    told = zoe.take() + ada.take() + eve.take()
    assert told[-1] == here("ada", "ben", "zoe")
    world.switchboard.close(ben)
    await world.loop.pass_time(GONE - 1)
    world.present("ada", "ben", "zoe")
    await world.loop.pass_time(1)
    for client in (zoe, ada, eve):
        assert all("ben" in each["room_presence"]["user_ids"] for each in client.take())
    world.present("ada", "zoe")
    assert zoe.take() == eve.take() == [here("ada", "zoe")]


async def test_frame_is_made_once_for_all(world: World) -> None:
    class Keeper(Watcher):
        data: bytes = b""

        def write_news(self, frame: bytes) -> bool:
            self.data = frame
            return True

    keepers = [Keeper() for _ in range(3)]
    for each in keepers:
        join = Join("lobby", follow=PEOPLE)
        world.switchboard.rooms.add_member(each, world.room, join)
    world.present("ada")
    assert keepers[0].data
    assert all(each.data is keepers[0].data for each in keepers)
    world.tell(RelayEvent(typists=Typists("lobby", ["ada"], 0, 6000)))
    assert all(each.data is keepers[0].data for each in keepers)


async def test_server_is_told_how_many_are_there(world: World) -> None:
    world.enter()
    await turns(2)
    assert world.told() == []
    ada = world.enter("ada")
    assert world.told() == [RoomPresence("lobby", 1)]
    other, ben = world.enter("ada"), world.enter("ben")
    world.enter("eve")
    world.switchboard.rooms.leave(ben, "lobby")
    assert world.told() == []
    await world.loop.pass_time(1)
    assert world.told() == [RoomPresence("lobby", 2)]
    # One of her clients goes: she is there still.
    world.switchboard.close(ada)
    await world.loop.pass_time(1)
    assert world.told() == []
    world.switchboard.close(other)
    await world.loop.pass_time(1)
    assert world.told() == [RoomPresence("lobby", 1)]


async def test_server_is_told_names_while_it_wants_them(world: World) -> None:
    world.tell(RelayEvent(wanted=Wanted("lobby", presence=True)))
    # It waits for the answer, also of one who has nobody.
    assert world.told() == [RoomPresence("lobby")]
    # The first one comes right behind it.
    world.enter("eve")
    assert world.told() == [RoomPresence("lobby", 1, ["eve"])]
    await world.loop.pass_time(1)
    world.enter("ada")
    assert world.told() == [RoomPresence("lobby", 2, ["ada", "eve"])]
    # Who asks again is answered again.
    world.tell(RelayEvent(wanted=Wanted("lobby", presence=True)))
    assert world.told() == [RoomPresence("lobby", 2, ["ada", "eve"])]
    world.tell(RelayEvent(wanted=Wanted("lobby", presence=False)))
    world.enter("ben")
    await world.loop.pass_time(1)
    assert world.told() == [RoomPresence("lobby", 3)]
    # It ends with the link.
    world.tell(RelayEvent(wanted=Wanted("lobby", presence=True)))
    world.told()
    world.reconnect()
    assert world.told() == []
    world.answer()
    await world.loop.pass_time(1)
    assert world.told() == [RoomPresence("lobby", 3)]
    world.tell(RelayEvent(wanted=Wanted("attic", presence=True)))
    assert world.told() == []


async def test_senders_are_there_once_a_message_is_stored(world: World) -> None:
    client = Guest()
    client.write = lambda _: None

    def send(sender_id: str, room_id: str = "lobby") -> int:
        message = ChatMessage(sender_id, room_id, sender_id, "hello")
        world.switchboard.send(client, message, None)
        return world.asked[-1].ref

    refused, stored = send("mallory"), send("ada")
    assert world.told() == []
    error = Error(ErrorCode(ErrorCode.PERMISSION_DENIED), "no")
    world.tell(RelayEvent(refused, error=error))
    message = ChatMessage("ada", "lobby", "ada", "hello", 1)
    world.tell(RelayEvent(stored, chat_message=message))
    world.tell(RelayEvent(wanted=Wanted("lobby", presence=True)))
    assert world.told()[-1] == RoomPresence("lobby", 1, ["ada"])
    # Elsewhere it is nobody yet, though it has sent as her here.
    send("ada", "attic")
    await world.loop.pass_time(1)
    assert world.told() == []
    # What is stored when it has left lets nobody stay for ever.
    late = send("ben")
    world.switchboard.rooms.leave(client, "lobby")
    message = ChatMessage("ben", "lobby", "ben", "hello", 2)
    world.tell(RelayEvent(late, chat_message=message))
    await world.loop.pass_time(1)
    assert world.told() == [RoomPresence("lobby")]


async def test_restart_of_the_server_is_silent(world: World) -> None:
    ada = world.enter("ada", *PEOPLE)
    world.present("ada", "ben", "eve")
    ada.take()
    world.reconnect()
    # However long it takes.
    await world.loop.pass_time(60)
    world.answer()
    world.present("ada")
    await world.loop.pass_time(KEEP - 1)
    world.present("ada", "ben")
    zoe = world.enter("zoe", *PEOPLE)
    assert zoe.take() == [here("ada", "ben", "eve", "zoe")]
    assert ada.take() == []
    await world.loop.pass_time(1)
    # Eve has not come back.
    assert ada.take() == zoe.take() == [here("ada", "ben", "zoe")]
    await world.loop.pass_time(60)
    assert ada.take() == []


async def test_links_that_come_and_go_keep_nobody_for_ever(world: World) -> None:
    ada = world.enter("ada", *PEOPLE)
    world.present("ada", "eve")
    ada.take()
    for _ in range(4):
        world.reconnect()
        world.answer()
        world.present("ada")
        await world.loop.pass_time(KEEP / 3)
    assert ada.take() == [here("ada")]


async def test_server_is_told_who_types(world: World) -> None:
    ada = world.enter("ada", *PEOPLE)
    world.told()
    world.switchboard.types("lobby", "ada")
    assert world.told() == [Typists("lobby", ["ada"])]
    for number in range(6):
        world.switchboard.types("lobby", f"user {number}")
    assert world.told() == []
    await world.loop.pass_time(1)
    names = ["ada", *(f"user {number}" for number in range(4))]
    assert world.told() == [Typists("lobby", names, 2)]
    await world.loop.pass_time(3)
    world.switchboard.types("lobby", "user 5")
    assert world.told() == [Typists("lobby", names, 2)]
    await world.loop.pass_time(2)
    assert world.told() == [Typists("lobby", ["user 5"])]
    # Of whom nothing more is heard ceases.
    await world.loop.pass_time(4)
    assert world.told() == [Typists("lobby")]
    await world.loop.pass_time(60)
    assert world.told() == []
    # The proxy shows nobody by itself.
    assert ada.take() == []
    world.switchboard.types("attic", "ada")
    assert world.told() == []


async def test_followers_are_shown_who_types(world: World) -> None:
    ada, plain = world.enter("ada", *PEOPLE), world.enter("ben")
    typists = Typists("lobby", ["ben", "eve"], 3, 6000)
    world.tell(RelayEvent(typists=typists), RelayEvent(typists=Typists("attic", ["ben"])))
    told = {"room_id": "lobby", "user_ids": ["ben", "eve"], "others": 3, "hold_ms": 6000}
    assert ada.take() == [{"typists": told}]
    assert plain.take() == []


async def test_nobody_is_shown_who_types_in_a_crowd(world: World) -> None:
    ada = world.enter("", *PEOPLE)
    typists = RelayEvent(typists=Typists("lobby", ["ben"], 0, 6000))
    crowd = [world.enter() for _ in range(CROWD - 1)]
    world.tell(typists)
    assert len(ada.take()) == 1
    crowd.append(world.enter())
    world.tell(typists)
    world.switchboard.types("lobby", "ada")
    assert ada.take() == world.told() == []
    # Or if they are elsewhere.
    for each in crowd:
        world.switchboard.close(each)
    world.tell(RelayEvent(room_presence=RoomPresence("lobby", CROWD + 1)))
    ada.take()
    world.tell(typists)
    assert ada.take() == []


async def test_slow_client_is_told_who_is_there_later(world: World) -> None:
    slow, quick = world.enter("", *PEOPLE), world.enter("", *PEOPLE)
    slow.reads = False
    world.present("ada")
    world.tell(RelayEvent(typists=Typists("lobby", ["ada"], 0, 6000)))
    assert slow.take() == []
    assert [*quick.take()[0]] == ["room_presence"]
    await world.loop.pass_time(5)
    world.present("ada", "ben")
    assert slow.take() == []
    slow.reads = True
    assert quick.take() == [here("ada", "ben")]
    await world.loop.pass_time(5)
    assert slow.take() == [here("ada", "ben")]
    await world.loop.pass_time(60)
    assert slow.take() == quick.take() == []


async def test_link_of_a_suspect_is_told_once_it_is_proven(world: World) -> None:
    world.enter("ada")
    world.told()
    world.reconnect(presence=False)
    world.answer()
    world.tell(RelayEvent(wanted=Wanted("lobby", presence=True)))
    world.switchboard.types("lobby", "ada")
    await world.loop.pass_time(2)
    assert world.told() == []
    world.switchboard.proven()
    await world.loop.pass_time(1)
    assert world.told() == [RoomPresence("lobby", 1, ["ada"])]


async def test_refused_room_is_told_of_no_more(world: World) -> None:
    ada = world.enter("ada", *PEOPLE)
    world.present("ada", "eve")
    world.reconnect()
    world.answer()
    world.switchboard.types("lobby", "ada")
    error = Error(ErrorCode(ErrorCode.INVALID_ARGUMENT), "room_id: wrong")
    world.tell(RelayEvent(world.room.join_ref, error=error))
    ada.take()
    world.told()
    await world.loop.pass_time(60)
    assert ada.take() == world.told() == []


@pytest.mark.parametrize("text", ["join.follow: expected CHANGES or READS", None])
async def test_server_of_before_is_told_nothing(loop: ClockLoop, text: str | None) -> None:
    """It refuses to tell of people, or knows of nothing to follow."""
    world = World(loop)
    asked = world.asked[-1]
    if text is not None:
        error = Error(ErrorCode(ErrorCode.INVALID_ARGUMENT), text)
        world.tell(RelayEvent(asked.ref, error=error))
        again = world.asked[-1]
        assert again.ref > asked.ref
        assert again.join == Join("lobby", follow=asked.join.follow[:2])
        # It is known from now on, as long as the link.
        with world.switchboard.rooms.pinned("attic"):
            assert world.asked[-1].join.follow == again.join.follow
    last_change = None if text is None else 0
    joined = Joined("lobby", "this", 0, recovered=False, last_change=last_change)
    world.tell(RelayEvent(world.room.join_ref, joined=joined))
    ada = world.enter("ada", *PEOPLE)
    world.switchboard.types("lobby", "ada")
    await world.loop.pass_time(60)
    assert ada.take() == world.told() == []
    # The next one may be newer.
    world.reconnect()
    assert world.asked[-1].join.follow == asked.join.follow
    world.answer()
    assert world.told() == [RoomPresence("lobby", 1)]
    world.present("ada")
    assert ada.take() == [here("ada")]
