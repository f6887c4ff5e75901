"""Whispers of nodes: how they travel, what waits, and who is there to hear them."""

from collections.abc import Sequence

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.storage.listener import UserMark, Whisper
from chat.storage.postgres.hint_payloads import (
    EVERYBODY,
    PAYLOAD_BYTES,
    Told,
    channel_of,
    goodbye,
    payloads,
    read,
)
from chat.storage.postgres.neighbours import Neighbours, link_name, node_of
from chat.storage.postgres.untold import Untold
from chat.storage.postgres.whisper_payloads import MOST_NAMES
from gen.chat import Mark, RoomPresence, Typists

ids = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=64)
numbers = st.integers(0, 2**32 - 1)
whispers = st.lists(
    st.one_of(
        st.builds(Typists, ids, st.lists(ids, max_size=5), numbers, st.integers(0, 6000)),
        st.builds(
            lambda room, names, more: RoomPresence(room, len(names) + more, names),
            ids, st.lists(ids, max_size=20), st.integers(0, 1000),
        ),
    )
)  # fmt: skip


@given(whispers)
def test_payloads_tell_all(told: Sequence[Whisper]) -> None:
    found: list[Whisper] = []
    for channel, payload in payloads(Told("node-1", whispers=told)):
        assert len(payload.encode()) <= PAYLOAD_BYTES
        # Nodes of before know forms with two and with four parts, and fail at others.
        assert len(orjson.loads(payload)) == 5
        part = read(payload)
        assert (part.node, part.heads, part.changes, part.marks) == ("node-1", {}, {}, [])
        for each in part.whispers:
            is_of_room = isinstance(each, Typists)
            assert channel == (channel_of(each.room_id) if is_of_room else EVERYBODY)
        found += part.whispers
    assert sorted(map(repr, found)) == sorted(map(repr, told))


def test_names_that_do_not_fit_are_left_out() -> None:
    names = ["\\" * 64 * n + str(n) for n in range(1, 90)]
    room = "é" * 2000
    [(_, payload), (_, other)] = payloads(
        Told("node-1", whispers=[RoomPresence(room, 89, names), Typists(room, names, 7, 6000)])
    )
    for each in (payload, other):
        assert PAYLOAD_BYTES - 1600 < len(each.encode()) <= PAYLOAD_BYTES
    [presence] = read(payload).whispers
    [typists] = read(other).whispers
    assert isinstance(presence, RoomPresence)
    assert isinstance(typists, Typists)
    assert presence.count == 89
    assert 0 < len(presence.user_ids) < MOST_NAMES
    assert presence.user_ids == names[: len(presence.user_ids)]
    assert typists.others == 7 + len(names) - len(typists.user_ids)
    many = RoomPresence("room", 60, list("abcdefghij" * 6))
    [(_, payload)] = payloads(Told("node-1", whispers=[many]))
    assert read(payload).whispers == [RoomPresence("room", 60, many.user_ids[:MOST_NAMES])]


def test_a_room_that_fits_into_no_payload_is_left_out() -> None:
    told: list[Whisper] = [
        RoomPresence("x" * PAYLOAD_BYTES, 1, ["ada"]),
        RoomPresence("room", 1, ["ada"]),
    ]
    assert [read(payload).whispers for _, payload in payloads(Told("node-1", whispers=told))] == [
        told[1:]
    ]


@pytest.mark.parametrize(
    "whisper",
    ['["t","room",["ada"],0]', '["t","room",["ada"],0,-1]', '["t","room",["ada"],0,60001]',
     '["t","room",["ada"],true,6000]', '["t","room",[1],0,6000]', '["t","room",[""],0,6000]',
     '["t","room",["a\\u0000b"],0,6000]', '["t","room",{"ada":1},0,6000]', '["t","room","ada",0,1]',
     '["t",1,["ada"],0,6000]', '["t","",["ada"],0,6000]', '["p","room",0,["ada"]]',
     '["p","room",4294967296,[]]', '["p","room",1.5,[]]', '["p","room",1]', '["p","room"]',
     f'["p","room",99,{orjson.dumps(["a"] * 51).decode()}]', '["t","room"]',
     '["x","room",true]', '[["t"],"room",true]', "[]", "1", "null", '"tr"', '{"t":1,"room":2}'],
)  # fmt: skip
def test_what_is_no_whisper_tells_nothing(whisper: str) -> None:
    assert read(f'["node",{{}},{{}},[],[{whisper}]]') == Told()


@pytest.mark.parametrize(
    "payload",
    ['["node",{},{},[],{}]', '["node",{},{},[],1]', '["node",{},{},[],[],[]]', '["node",null,[]]',
     '[1,null]', f'["node",{{}},{{}},[],[["p","{"x" * PAYLOAD_BYTES}",0,[]]]]'],
)  # fmt: skip
def test_what_is_no_form_tells_nothing(payload: str) -> None:
    assert not read(payload).has_news
    assert not read(payload).is_gone


def test_goodbye_is_no_hint_to_nodes_of_before() -> None:
    channel, payload = goodbye("node-1")
    assert (channel, read(payload)) == (EVERYBODY, Told("node-1", is_gone=True))
    # They take what comes second for the heads of rooms.
    assert orjson.loads(payload)[1] is None


def test_the_newest_of_each_room_waits() -> None:
    untold = Untold()
    assert not untold
    for count in (1, 2):
        untold.add_whisper(RoomPresence("room", count))
        untold.add_whisper(Typists("room", ["ada"], count))
    untold.add_heads({"room": 7})
    untold.add_marks([UserMark("ada", Mark("room", seq)) for seq in (1, 2)])
    assert untold.take("node-1") == Told(
        "node-1",
        {"room": 7},
        {},
        [UserMark("ada", Mark("room", 2))],
        [RoomPresence("room", 2), Typists("room", ["ada"], 2)],
    )
    assert not untold


def test_many_whispers_wait_for_their_turn_and_too_many_are_dropped() -> None:
    untold = Untold()
    for number in range(10_100):
        untold.add_whisper(RoomPresence(f"room {number}", 1))
    untold.add_changes({"room": 1})
    first = untold.take("node-1")
    assert first.changes == {"room": 1}
    told = list(first.whispers)
    while untold:
        untold.add_heads({"room": 2})
        part = untold.take("node-1")
        assert part.heads
        assert 0 < len(part.whispers) <= len(first.whispers) < 1000
        told += part.whispers
    assert [each.room_id for each in told] == [f"room {number}" for number in range(10_000)]
    untold.add_whisper(told[0])
    untold.clear()
    assert not untold


def test_neighbours() -> None:
    neighbours = Neighbours()
    old = "0123456789abcdef"  # of a program of before
    first, second = link_name("one", 1), link_name("one", 2)
    assert [node_of(each) for each in (first, second, old)] == ["one", "one", old]
    assert [neighbours.hear(each, 1) for each in (first, first, second, old)] == [
        True, False, True, True,
    ]  # fmt: skip
    assert (len(neighbours), list(neighbours)) == (2, ["one", old])
    # What its last link said in the end may come after its new one is known.
    assert not neighbours.leave(first)
    assert not neighbours.leave("another-1")
    assert neighbours.leave(second)
    assert neighbours.hear(first, 3)
    assert neighbours.forget_silent(2) == [old]
    assert list(neighbours) == ["one"]


def test_neighbours_are_bounded() -> None:
    neighbours = Neighbours()
    assert [neighbours.hear(f"node {n}", 1) for n in range(1001)] == [True] * 1000 + [False]
    assert neighbours.hear(link_name("node 5", 2), 1)
