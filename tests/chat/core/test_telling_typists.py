"""Who types, told: to whom, when, and how often."""

from __future__ import annotations

from typing import Any

from chat.core.telling_typists import MOST_IN_ROOM, TYPING_SECONDS
from chat.core.typists import HOLD_SECONDS
from gen.chat import JoinFollow, Typists
from tests.chat.core.nodes import ROOM, STEP, Link, Node, Stream, passes, typists
from tests.clock import ClockLoop

TYPING: Any = JoinFollow.TYPING


async def test_first_is_told_at_once_and_the_last_ceases(node: Node, loop: ClockLoop) -> None:
    ada, ben, plain = Stream(), Stream(), Stream()
    for stream in (ada, ben):
        await node.join(stream, follow=[TYPING])
    await node.join(plain)
    node.hub.typing.types(plain, ROOM, "cy")
    assert ada.take() == ben.take() == [typists("cy")]
    node.hub.typing.types(ben, ROOM, "ben")
    assert not ada.take()
    await passes(loop, TYPING_SECONDS)
    assert ada.take() == [typists("cy", "ben")]
    # Whoever comes is told it at once.
    late = Stream()
    await node.join(late, follow=[TYPING])
    assert late.take() == [typists("cy", "ben")]
    node.hub.leave(ben, ROOM)
    await passes(loop, TYPING_SECONDS)
    assert ada.take() == [typists("cy")]
    await passes(loop, HOLD_SECONDS)
    assert ada.take()[-1] == late.take()[-1] == typists()
    await passes(loop, 60)
    assert (ada.take(), plain.take()) == ([], [])


async def test_any_number_of_typists_is_one_frame_a_second(node: Node, loop: ClockLoop) -> None:
    ada, link = Stream(), Link(node)
    await node.join(ada, follow=[TYPING])
    await node.join(link, follow=[TYPING])
    others = [Stream() for _ in range(100)]
    for stream in others:
        await node.join(stream)
    seconds = 5
    for _ in range(round(seconds / STEP)):
        for number, stream in enumerate(others):
            node.hub.typing.types(stream, ROOM, f"user {number}")
        node.hub.typing.told(link, Typists(ROOM, ["ada", "ben"], 3))
        await loop.pass_time(STEP)
    told = ada.take()
    assert told == link.take()
    assert len(told) <= seconds / TYPING_SECONDS + 1
    assert (len(told[-1].user_ids), told[-1].others) == (5, 100)


async def test_slow_streams_and_large_rooms_are_left_out(node: Node, loop: ClockLoop) -> None:
    ada, slow = Stream(), Stream()
    slow.behind = True
    for stream in (ada, slow):
        await node.join(stream, follow=[TYPING])
    node.hub.typing.types(ada, ROOM, "ada")
    assert (ada.take(), slow.take()) == ([typists("ada")], [])
    assert node.hub.metrics.notices_skipped == 1
    for _ in range(MOST_IN_ROOM):
        await node.join(Stream())
    await passes(loop, TYPING_SECONDS)
    node.hub.typing.types(ada, ROOM, "ben")
    node.hub.typing.told(Link(node), Typists(ROOM, ["cy"]))
    await passes(loop, 60)
    assert not ada.take()


async def test_present_users_count_for_large_rooms(node: Node, loop: ClockLoop) -> None:
    """A proxy is one member, and may have many clients."""
    ada, link = Stream(), Link(node, *map(str, range(MOST_IN_ROOM + 1)))
    await node.join(ada, follow=[TYPING])
    await node.join(link)
    link.report()
    node.hub.typing.types(ada, ROOM, "ada")
    await passes(loop, 10)
    assert not ada.take()


async def test_nodes_tell_each_other_who_types(nodes: list[Node], loop: ClockLoop) -> None:
    north, south = nodes
    ada, ben = Stream(), Stream()
    await north.join(ada, follow=[TYPING])
    await south.join(ben, follow=[TYPING])
    north.hub.typing.types(ada, ROOM, "ada")
    assert ada.take() == ben.take() == [typists("ada")]
    south.hub.typing.types(ben, ROOM, "ben")
    await passes(loop, TYPING_SECONDS)
    assert ada.take() == ben.take() == [typists("ada", "ben")]
    said = [each for each in south.whispers if isinstance(each, Typists)]
    assert said == [typists("ben")]
    south.listener.lost("north")
    await passes(loop, TYPING_SECONDS)
    assert ben.take() == [typists("ben")]
    await passes(loop, HOLD_SECONDS + TYPING_SECONDS)
    assert ben.take()[-1] == ada.take()[-1] == typists()


async def test_nothing_is_kept_of_a_room_that_nobody_is_in(node: Node, loop: ClockLoop) -> None:
    ada = Stream()
    await node.join(ada, follow=[TYPING])
    node.hub.typing.types(ada, ROOM, "ada")
    node.hub.close(ada)
    await node.join(ada, follow=[TYPING])
    assert ada.take() == [typists("ada")]
    node.hub.typing.types(ada, ROOM, "ada")
    assert ada.take() == [typists("ada")]
    await passes(loop, 1)
