"""Who is there, told: to whom, when, and how often."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import uvloop
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from chat.core.attendance import LINGER_SECONDS
from chat.core.membership import Membership
from chat.core.rooms import Rooms
from chat.core.telling_presence import (
    ASKED_SECONDS,
    MOST_ASKED,
    PRESENCE_SECONDS,
    TellingPresence,
)
from chat.core.watching import OWED_SECONDS
from chat.core.whispering import AGAIN_SECONDS, WHISPER_SECONDS
from chat.metrics import ServerMetrics
from gen.chat import JoinFollow, Wanted
from hosting.faults import Faults
from tests.chat.core.nodes import ROOM, Link, Node, Stream, passes, presence
from tests.clock import ClockLoop, run, turns
from tests.support import MODEL

PRESENCE: Any = JoinFollow.PRESENCE
WANTED: Final = Wanted(ROOM, presence=True)
UNWANTED: Final = Wanted(ROOM, presence=False)


async def test_changes_are_told_at_once_and_then_in_turns(node: Node, loop: ClockLoop) -> None:
    ada, ben, cy, plain = (Stream() for _ in range(4))
    await node.join(ada, "ada", [PRESENCE])
    assert ada.take() == [presence("ada")]
    await node.join(plain, "reader")
    await node.join(ben, "ben", [PRESENCE])
    # Whoever comes need not wait for the turn of the others.
    assert ben.take() == [presence("ada", "ben", "reader")]
    await node.join(cy)
    node.hub.present.speaks(cy, ROOM, "cy")
    node.hub.present.speaks(cy, ROOM, "cy")
    assert not ada.take()
    await passes(loop, PRESENCE_SECONDS)
    everybody = presence("ada", "ben", "cy", "reader")
    assert ada.take() == ben.take() == [everybody]
    await passes(loop, 60)
    assert (ada.take(), plain.take(), cy.take()) == ([], [], [])
    assert node.hub.present.has(ROOM, "cy")
    assert (node.hub.present.count(ROOM), len(node.hub.present)) == (4, 1)


async def test_departure_waits_and_return_is_silent(node: Node, loop: ClockLoop) -> None:
    ada, ben = Stream(), Stream()
    await node.join(ada, "ada", [PRESENCE])
    await node.join(ben, "ben")
    await passes(loop, PRESENCE_SECONDS)
    assert ada.take()[-1] == presence("ada", "ben")
    node.hub.leave(ben, ROOM)
    await passes(loop, LINGER_SECONDS - 1)
    await node.join(ben, "ben")
    await passes(loop, 60)
    assert not ada.take()
    node.hub.close(ben)
    await passes(loop, LINGER_SECONDS - 0.25)
    assert not ada.take()
    await passes(loop, 0.25)
    assert ada.take() == [presence("ada")]


def test_departure_at_once_hinders_no_other() -> None:
    """In uvloop, where a timer that is due at once does not know its time."""

    async def test() -> None:
        present = TellingPresence(Rooms(lambda _: None), ServerMetrics(), Faults(), linger=0)
        streams = {name: Stream() for name in ("ada", "ben", "cy")}
        for name, stream in streams.items():
            present.entered(stream, ROOM, name)
        for stream in streams.values():
            present.left(stream, ROOM)
        while present.count(ROOM):  # noqa: ASYNC110 - until it comes to it
            await asyncio.sleep(0)
        present.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test())


async def test_joining_again_is_no_departure(node: Node, loop: ClockLoop) -> None:
    """Neither of those as whom a stream has sent, nor of the clients of a proxy."""
    ada, link = Stream(), Link(node, "cy")
    await node.join(ada)
    node.hub.present.speaks(ada, ROOM, "ada")
    node.hub.present.speaks(ada, ROOM, "ben")
    await node.join(link, follow=[PRESENCE])
    for stream in (ada, link):
        await node.join(stream, follow=[PRESENCE])
    await passes(loop, 60)
    assert ada.take()[-1] == presence("ada", "ben", "cy")
    node.hub.close(ada)
    await passes(loop, LINGER_SECONDS)
    assert not node.hub.present.has(ROOM, "ben")


async def test_proxies_are_asked_for_names_where_they_are_wanted(node: Node) -> None:
    link = Link(node, "ada", "ben")
    await node.join(link)
    link.report()
    assert node.hub.present.count(ROOM) == 2
    assert not link.take()
    ada = Stream()
    await node.join(ada, "cy", [PRESENCE])
    # It is told when the proxy has named its users, and not before.
    assert (link.take(), ada.take()) == ([WANTED], [])
    await turns(2)
    assert ada.take() == [presence("ada", "ben", "cy")]
    other = Link(node, "dee")
    await node.join(other, follow=[PRESENCE])
    await turns(2)
    assert other.take() == [WANTED, presence("ada", "ben", "cy", "dee")]
    node.hub.leave(ada, ROOM)
    assert not link.take()
    node.hub.leave(other, ROOM)
    assert link.take() == [UNWANTED]
    assert node.hub.present.watched == 0
    # Names that nobody wants are not kept.
    node.hub.present.told(link, presence("eve"))
    assert not node.hub.present.has(ROOM, "eve")


async def test_proxy_that_names_nobody_is_waited_for_a_second(node: Node, loop: ClockLoop) -> None:
    link, ada = Link(node, "ben"), Stream()
    link.names = False
    await node.join(link)
    await node.join(ada, "ada", [PRESENCE])
    await passes(loop, OWED_SECONDS - 0.25)
    assert not ada.take()
    await passes(loop, 0.25)
    assert ada.take() == [presence("ada", count=2)]


async def test_new_link_of_a_proxy_is_silent(node: Node, loop: ClockLoop) -> None:
    """Its users are counted once, although their names come later than their number."""
    link, ada = Link(node, "ben", "cy"), Stream()
    await node.join(link)
    await node.join(ada, "ada", [PRESENCE])
    await passes(loop, 10)
    assert ada.take() == [presence("ada", "ben", "cy")]
    node.hub.close(link)
    await passes(loop, 3)
    again = Link(node, "ben", "cy")
    await node.join(again, follow=[PRESENCE])
    node.hub.present.told(again, presence(count=2))
    await passes(loop, 60)
    assert not ada.take()


async def test_turn_of_the_others_waits_for_names_too(node: Node, loop: ClockLoop) -> None:
    link, ada = Link(node, "ben", "cy"), Stream()
    await node.join(link)
    await node.join(ada, "ada", [PRESENCE])
    await passes(loop, 10)
    await node.join(Stream(), "dee")
    await node.join(Stream(), "eve")
    assert ada.take()[1:] == [presence("ada", "ben", "cy", "dee")]
    await passes(loop, PRESENCE_SECONDS - 0.5)
    node.hub.close(link)
    again = Link(node, "ben", "cy")
    again.names = False
    await node.join(again, follow=[PRESENCE])
    await passes(loop, 0.75)
    assert not ada.take()
    again.names = True
    again.report()
    # And not for another turn.
    assert ada.take() == [presence("ada", "ben", "cy", "dee", "eve")]


async def test_newcomer_is_told_what_was_meanwhile_no_more(
    nodes: list[Node], loop: ClockLoop
) -> None:
    north, south = nodes
    ada, ben, slow = Stream(), Stream(), Stream()
    await north.join(ada, "ada", [PRESENCE])
    slow.behind = True
    await north.join(slow, "ada", [PRESENCE])
    south.whisper(presence("cy"))
    await north.join(ben, "ada", [PRESENCE])
    south.whisper(presence())
    assert (ada.take(), ben.take()) == ([presence("ada")], [presence("ada", "cy")])
    slow.behind = False
    await passes(loop, PRESENCE_SECONDS)
    assert (ada.take(), ben.take()) == ([], [presence("ada")])
    assert slow.take() == [presence("ada")]


async def test_names_are_asked_for_by_a_call(node: Node, loop: ClockLoop) -> None:
    link = Link(node, "ada", "ben", "cy")
    await node.join(link)
    link.report()
    present = node.hub.present
    assert await present.names(ROOM, "ada", 1) == ["ben"]
    assert await present.names(ROOM, "", 10) == ["ada", "ben", "cy"]
    assert link.take() == [WANTED]
    await passes(loop, ASKED_SECONDS)
    assert link.take() == [UNWANTED]
    # Without an answer it gives what is known.
    link.names = False
    link.users = {"dee"}
    asking = asyncio.create_task(present.names(ROOM, "", 10))
    await passes(loop, OWED_SECONDS - 0.25)
    assert not asking.done()
    await passes(loop, 0.5)
    assert await asking == []
    assert await present.names("nowhere", "", 10) == []
    present.close()


async def test_who_asks_for_many_rooms_keeps_nobody_from_asking(
    node: Node, loop: ClockLoop
) -> None:
    link = Link(node, "ada")
    await node.join(link)
    present = node.hub.present
    others = [f"room {number}" for number in range(MOST_ASKED)]
    link.rooms.update(dict.fromkeys(others, Membership()))
    asking = asyncio.gather(*(present.names(each, "", 10) for each in others))
    await passes(loop, OWED_SECONDS + 0.25)
    await asking
    assert present.watched == MOST_ASKED
    link.take()
    assert await present.names(ROOM, "", 10) == ["ada"]
    # The one that was asked for first gave way.
    assert link.take() == [Wanted(others[0], presence=False), WANTED]
    assert present.watched == MOST_ASKED
    await passes(loop, ASKED_SECONDS)
    assert not present.watched
    present.close()


async def test_slow_stream_is_told_later_and_a_failure_costs_one(
    node: Node, loop: ClockLoop
) -> None:
    slow, deaf, ada = Stream(), Stream(), Stream()
    slow.behind = True
    for stream, name in ((slow, "slow"), (deaf, "deaf")):
        await node.join(stream, name, [PRESENCE])
    deaf.deaf = True
    with capture_logs() as lines:
        await node.join(ada, "ada", [PRESENCE])
        await passes(loop, 3 * PRESENCE_SECONDS)
    assert {line["event"] for line in lines} == {"notice failed"}
    everybody = presence("ada", "deaf", "slow")
    assert ada.take()[-1] == everybody
    assert not slow.take()
    assert node.hub.metrics.notices_skipped > 1
    slow.behind = False
    await passes(loop, PRESENCE_SECONDS)
    assert slow.take() == [everybody]
    assert not ada.take()
    # Also if nothing changed when it came.
    await passes(loop, 2 * PRESENCE_SECONDS)
    late = Stream()
    late.behind = True
    await node.join(late, "ada", [PRESENCE])
    late.behind = False
    await passes(loop, PRESENCE_SECONDS)
    assert late.take() == [everybody]


async def test_nodes_tell_each_other(nodes: list[Node], loop: ClockLoop) -> None:
    north, south = nodes
    ada, ben = Stream(), Stream()
    await north.join(ada, "ada", [PRESENCE])
    await south.join(ben, "ben", [PRESENCE])
    assert (ada.take(), ben.take()) == ([presence("ada")], [presence("ada", "ben")])
    await passes(loop, PRESENCE_SECONDS)
    assert (ada.take(), ben.take()) == ([presence("ada", "ben")], [])
    # Each tells of its own, and again after a while: a new node hears all at once.
    assert [north.whispers, south.whispers] == [[presence("ada")], [presence("ben")]]
    east = await Node.open("east", nodes)
    assert east.hub.present.count(ROOM) == 2
    await passes(loop, AGAIN_SECONDS)
    assert len(north.whispers) == 3
    # The node is lost; its users come to another one.
    north.reachable = False
    south.listener.lost("north")
    await passes(loop, LINGER_SECONDS - 1)
    await south.join(Stream(), "ada")
    await passes(loop, LINGER_SECONDS)
    assert not ben.take()


async def test_whispers_of_a_room_are_paced(nodes: list[Node], loop: ClockLoop) -> None:
    north, south = nodes
    for number in range(60):
        await north.join(Stream(), f"user {number:02}")
    assert len(north.whispers) == 1
    await passes(loop, WHISPER_SECONDS)
    [_, told] = north.whispers
    assert told == presence(*(f"user {number:02}" for number in range(50)), count=60)
    assert south.hub.present.count(ROOM) == 60
    assert not south.whispers


STREAMS: Final = 4
STEPS: Final = st.lists(
    st.one_of(
        st.tuples(
            st.just("join"),
            st.integers(0, STREAMS - 1),
            st.sampled_from(["", "ada", "ben", "cy"]),
            st.booleans(),
        ),
        st.tuples(st.just("leave"), st.integers(0, STREAMS - 1)),
        st.tuples(st.just("link"), st.sets(st.sampled_from(["ada", "dee", "eve"]))),
        st.tuples(st.just("reconnect")),
        st.tuples(st.just("behind"), st.integers(0, STREAMS - 1)),
        st.tuples(st.just("pass"), st.sampled_from([0.25, 1.0, 6.0, 14.0])),
    ),
    max_size=12,
)


class World:
    """Two nodes, clients of both, and a proxy of one."""

    def __init__(self, north: Node, south: Node) -> None:
        self.nodes = (north, south)
        self.streams = [Stream() for _ in range(STREAMS)]
        self.users: dict[Stream, set[str]] = {}
        self.link = Link(south)

    async def connect(self) -> None:
        await self.nodes[1].join(self.link, follow=[PRESENCE])

    async def apply(self, step: Any, loop: ClockLoop) -> None:
        match step:
            case ("join", nth, user, follows):
                stream = self.streams[nth]
                await self.nodes[nth % 2].join(stream, user, [PRESENCE] * follows)
                self.users.setdefault(stream, set()).update({user} - {""})
            case ("leave", nth):
                self.nodes[nth % 2].hub.leave(self.streams[nth], ROOM)
                self.users.pop(self.streams[nth], None)
            case ("link", named):
                self.link.users = named
                self.link.report()
            case ("reconnect",):
                self.nodes[1].hub.close(self.link)
                self.link = Link(self.nodes[1], *self.link.users)
                await self.connect()
            case ("behind", nth):
                self.streams[nth].behind = not self.streams[nth].behind
            case ("pass", seconds):
                await passes(loop, seconds)

    def followers(self) -> list[Stream]:
        """Those who are told who is there."""
        members = [*self.users, self.link]
        return [each for each in members if getattr(each.rooms[ROOM], "presence", False)]


@MODEL
@given(STEPS)
def test_at_rest_followers_know_who_is_there(steps: Sequence[Any]) -> None:
    async def test(loop: ClockLoop) -> None:
        nodes: list[Node] = []
        world = World(await Node.open("north", nodes), await Node.open("south", nodes))
        await world.connect()
        for step in steps:
            await world.apply(step, loop)
        for stream in world.streams:
            stream.behind = False
        await passes(loop, LINGER_SECONDS + 3 * PRESENCE_SECONDS)
        there = presence(*sorted(world.link.users.union(*world.users.values())))
        assert [each.told[-1] for each in world.followers()] == [there] * len(world.followers())
        assert {node.hub.present.count(ROOM) for node in nodes} == {there.count}
        for node in nodes:
            node.hub.stop()

    run(test)
