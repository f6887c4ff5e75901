"""Frames, and the recipients of a batch, against a plain model."""

import json
from typing import NamedTuple

import pytest
from aiohttp import WSMsgType
from hypothesis import given
from hypothesis import strategies as st

from gen.chat import ChatMessage, Error, ErrorCode
from proxy.core import frames
from proxy.core.fanout import Fanout
from proxy.core.room import Room
from proxy.core.unconfirmed import UnconfirmedSend
from tests.kit.web import RawFrame, split_frames
from tests.proxy.relay_model import Recorder
from tests.proxy.web_client import Frame

ROOMS = ("lobby", "attic")


class Arrival(NamedTuple):
    """A message of a batch: its room, sender and request id."""

    room: int
    sender: int | None
    request_id: str | None


arrivals = st.builds(
    Arrival,
    st.integers(0, len(ROOMS) - 1),
    st.none() | st.integers(0, 3),
    st.none() | st.sampled_from(["", "mine"]),
)
# For four clients: members of each room, and clients about to enter it.
memberships = st.lists(st.sets(st.integers(0, 3)), min_size=2, max_size=2)


async def test_fanout_reaches_members_and_askers() -> None:
    @given(memberships, memberships, st.lists(st.lists(arrivals, max_size=8), max_size=3))
    def check(
        members: list[set[int]], replaying: list[set[int]], batches: list[list[Arrival]]
    ) -> None:
        clients = [Recorder() for _ in range(4)]
        rooms: list[Room] = [Room(room_id) for room_id in ROOMS]
        for room, inside, entering in zip(rooms, members, replaying, strict=True):
            room.members = {clients[index]: None for index in sorted(inside - entering)}
            room.replaying = {clients[index]: {} for index in entering}
        expected: list[list[list[Frame]]] = [[[], []] for _ in clients]
        fanout = Fanout()
        for batch in batches:
            for arrival in batch:
                model(arrival, rooms[arrival.room], clients, fanout, expected)
            fanout.write()
        for client, by_room in zip(clients, expected, strict=True):
            # One write for each room of a batch.
            assert len(client.writes) <= len(ROOMS) * len(batches)
            received = client.take()
            for room_id, frames_of_room in zip(ROOMS, by_room, strict=True):
                assert [
                    frame for frame in received if frame["chat_message"]["room_id"] == room_id
                ] == frames_of_room

    check()


def model(
    arrival: Arrival,
    room: Room,
    clients: list[Recorder],
    fanout: Fanout,
    expected: list[list[list[Frame]]],
) -> None:
    """Lets a message arrive, and notes its recipients."""
    room.last_seq += 1
    message = ChatMessage(id="1", room_id=room.room_id, sender_id="a", seq=room.last_seq)
    send: UnconfirmedSend | None = None
    if arrival.sender is not None:
        sender = clients[arrival.sender]
        send = UnconfirmedSend(1, message, sender, arrival.request_id, 0)
    answered = fanout.add(room, message, send)
    if send is not None:
        assert answered is (send.client in room.members or send.client in room.replaying)
        if send.client in room.replaying:
            assert room.replaying[send.client][message.seq] == (message, arrival.request_id)
    shared = split_frames(frames.message(message))[0].json()
    for index, client in enumerate(clients):
        if client in room.members:
            own = index == arrival.sender and arrival.request_id is not None
            answer = {"request_id": arrival.request_id} if own else {}
            expected[index][arrival.room].append(shared | answer)


async def test_batch_is_written_once() -> None:
    client, room = Recorder(), Room("lobby")
    room.members[client] = None
    fanout = Fanout()
    for seq in (1, 2):
        fanout.add(room, ChatMessage(room_id="lobby", seq=seq), None)
    fanout.write()
    fanout.write()
    assert len(client.writes) == 1


@given(st.text(st.characters(exclude_categories=["Cs"])), st.none() | st.text("aé\n\x00💬"))
def test_message_in_a_frame(content: str, request_id: str | None) -> None:
    [frame] = split_frames(frames.message(ChatMessage(content=content, seq=7), request_id))
    told = frame.json()
    assert told["chat_message"]["content"] == content
    assert told["chat_message"]["seq"] == 7
    assert told.get("request_id") == request_id


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 100_000])
def test_frame_header_for_each_size(size: int) -> None:
    assert split_frames(frames.text_frame(b"x" * size)) == [RawFrame(WSMsgType.TEXT, b"x" * size)]


def test_error_in_a_frame() -> None:
    error = Error(code=ErrorCode(ErrorCode.UNAVAILABLE), message="later", retryable=True)
    [frame] = split_frames(frames.error(error, "mine"))
    assert json.loads(frame.payload) == {
        "request_id": "mine",
        "error": {"code": "UNAVAILABLE", "message": "later", "retryable": True},
    }


def test_close_frame() -> None:
    [frame] = split_frames(frames.close_frame(4008, "slow consumer"))
    assert frame.close_code == 4008
    assert frame.payload[2:] == b"slow consumer"
