"""A fuzz target for sessions behind a switchboard, with broken links and passing time."""

import json
from functools import cache
from random import Random
from typing import Any

import proxy
from gen.chat import ErrorCode, Left, RoomPresence, ServerFrame
from proxy.clients.actions import EnterRoom, LeaveRoom, Refuse, Send
from proxy.clients.session import Session
from proxy.core import frames
from proxy.core.switchboard import Switchboard
from proxy.errors import Refused
from tests.clock import ClockLoop
from tests.fuzz.steps import Choices
from tests.proxy.core.test_switchboard import ROOMS, USERS, Chatting
from tests.proxy.relay_model import DirectOutbox, Follower

_HOLD_SECONDS = 20.0
_MOST_ROOMS = 2
_STEPS = 300


@cache
def _loop() -> ClockLoop:
    return ClockLoop()


class _Conversing(Chatting):
    """The model of the switchboard's tests, plus a session for each client, and a clock."""

    def __init__(self) -> None:
        super().__init__()
        config = proxy.Config(hold_seconds=_HOLD_SECONDS, call_seconds=10.0)
        self.switchboard = Switchboard(config, DirectOutbox(self.put))
        self.sessions = [self._session(client) for client in self.followers]
        self.away = 0.0

    def _session(self, client: Follower) -> Session:
        session = Session(2000, _MOST_ROOMS, {})
        client.rooms, client.users = session.rooms, session.users
        return session

    def frame(self, index: int, payload: dict[str, Any]) -> None:
        """A client sends a frame; the decision is carried out as its connection would."""
        client = self.followers[index]
        if any(client is entering for entering, _, _ in self.entering):
            return
        self.requests += 1
        request_id = str(self.requests)
        session = self.sessions[index]
        in_rooms = set(session.rooms)
        action = session.receive(json.dumps({**payload, "request_id": request_id}).encode())
        assert action.request_id == request_id
        match action:
            case Send(message, _):
                assert len(in_rooms | {message.room_id}) <= _MOST_ROOMS
                if message.room_id not in in_rooms:
                    client.forget(message.room_id)
                client.sent[request_id] = message
                try:
                    self.switchboard.send(client, message, request_id)
                except Refused as refused:
                    assert self.away >= _HOLD_SECONDS
                    client.write(frames.error(refused.error, request_id))
            case EnterRoom(join, _):
                assert len(in_rooms | {join.room_id}) <= _MOST_ROOMS
                self.begin_to_enter(index, join.room_id)
            case LeaveRoom(room_id, _):
                self.leave(index, room_id)
                told = ServerFrame(left=Left(room_id), request_id=request_id)
                client.write(frames.encode(told))
                assert client.answers.pop(request_id) == 1
            case Refuse(error, _):
                assert len(in_rooms) == _MOST_ROOMS
                assert error.code == ErrorCode.RESOURCE_EXHAUSTED

    async def pass_time(self, seconds: float) -> None:
        """Time passes without events."""
        if self.stream is None:
            self.away += seconds
        await _loop().pass_time(seconds)
        if self.away >= _HOLD_SECONDS:
            # Every client got its reply; nothing is kept.
            assert not [*self.switchboard.sends]
            for client in self.followers:
                assert set(client.answers) == set(client.sent)

    def connect(self, tells: bool = True) -> None:
        super().connect(tells=tells)
        self.away = 0.0

    def go(self, index: int) -> None:
        super().go(index)
        self.sessions[index] = self._session(self.followers[index])

    async def step(self, choices: Choices) -> None:
        """Performs the event that the next bytes choose."""
        chosen, index = choices.below(13), choices.below(3)
        room_id = choices.of(ROOMS)
        match chosen:
            case 0 | 1 | 2:
                key = choices.of(["", "x", "y"])
                content = choices.of(["hello", "hello", "hello", ""])
                sent = {"id": key, "room_id": room_id, "sender_id": choices.of(USERS)}
                self.frame(index, {"chat_message": {**sent, "content": content}})
            case 3:
                self.frame(index, {"join": {"room_id": room_id}})
            case 4:
                self.frame(index, {"leave": {"room_id": room_id}})
            case 5:
                self.go(index)
            case 6 if self.entering:
                self.enter(follows=index > 0)
            case 7 if room_id != "refused":
                self.somebody_else_sends(room_id)
            case 8:
                await self.pass_time(choices.of([0.1, 1.0, 5.0, 15.0, 20.0]))
            case 9 if room_id != "refused":
                self.messages_are_changed(room_id, [index, index + 1], at_once=index > 1)
            case 10 if room_id != "refused" and self.stream is not None:
                self.what_changed_is_told(room_id)
            case _:
                self.upstream(choices, index)

    async def people_are_known(self) -> None:
        """Lets all settle; then the server knows who is in each room."""
        while self.entering:
            self.enter(follows=True)
        for _ in range(2):
            self.come_to_rest()
            # What was told of a room a short while ago waits for so long.
            await _loop().pass_time(1.0)
        self.come_to_rest()
        if self.stream is None or not self.stream.tells:
            return
        for room_id in self.stream.rooms:
            users = set[str]().union(
                *(each.here[room_id] for each in self.followers if room_id in each.rooms)
            )
            told = self.stream.people.get(room_id, RoomPresence(room_id))
            assert told == RoomPresence(room_id, len(users), sorted(users))

    def upstream(self, choices: Choices, number: int) -> None:
        """An event of the server or the link."""
        if self.stream is None:
            self.connect()
            return
        match choices.below(5):
            case 0:
                self.disconnect(stored=bool(choices.below(2)), history_lost=number == 2)
            case 1 | 2 if self.stream.inbox:
                self.process(number + 1)
            case 3 if self.stream.pending:
                self.commit()
            case _ if self.stream.outbox:
                self.deliver(number * 3 + 1)


def session(data: bytes) -> None:
    """In any order of events each send gets one reply, and nothing is left behind."""
    _loop().run_until_complete(_session(data))


async def _session(data: bytes) -> None:
    choices, model = Choices(data[:_STEPS]), _Conversing()
    while choices:
        await model.step(choices)
        model.nothing_is_answered_twice()
    await model.people_are_known()
    model.teardown()
    await _loop().pass_time(_HOLD_SECONDS)


def seeds() -> list[bytes]:
    """Random choices."""
    random = Random(4)  # noqa: S311 - made up, not secret
    return [random.randbytes(size) for size in (20, 40, 80, 160, 300) for _ in range(8)]
