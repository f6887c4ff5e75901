"""The proxy's work for a client is the same, however many others there are."""

from collections.abc import Callable
from functools import partial

import pytest

import proxy
from gen.chat import (
    ChatMessage,
    Error,
    ErrorCode,
    Joined,
    Left,
    RelayCommand,
    RelayEvent,
    RelayResponse,
)
from proxy.core.outbox import Item, as_command
from proxy.core.switchboard import Switchboard
from tests.cost import cost
from tests.proxy.relay_model import DirectOutbox, Guest

FEW, MANY = 10, 3000
# A table of so many entries is far larger.
NOISE_BYTES = 4096


class Deaf(Guest):
    """A client that ignores its frames."""

    def write(self, frame: bytes) -> None:
        pass


class Crowd:
    """A switchboard with many other clients, each sending in a room of its own."""

    def __init__(self, others: int) -> None:
        self.asked: list[RelayCommand] = []
        self.switchboard = Switchboard(proxy.Config(), DirectOutbox(self._put))
        self.switchboard.connected()
        for number in range(others):
            self.send(Deaf(), f"room {number}", f"user {number}", number)
            self.answer(joined=Joined(f"room {number}", "epoch"), to=-2)
        self.client = Deaf()
        self.numbers = iter(range(others, 10 * MANY))
        self.enter("own")

    def _put(self, item: Item, _: int) -> None:
        self.asked.append(as_command(item))

    def send(self, client: Deaf, room_id: str, user_id: str, number: int) -> None:
        message = ChatMessage(str(number), room_id, user_id, "hello")
        self.switchboard.send(client, message, None)

    def answer(self, *, to: int = -1, **event: Error | Joined | Left | ChatMessage) -> None:
        ref = self.asked[to].ref
        self.switchboard.receive(RelayResponse([RelayEvent(ref, **event)]))  # type: ignore[arg-type]  # the fields of one

    def enter(self, room_id: str) -> None:
        with self.switchboard.rooms.pinned(room_id) as room:
            self.answer(joined=Joined(room_id, "epoch"))
            self.switchboard.rooms.add_member(self.client, room)

    # The measured actions.

    def a_join_is_refused(self) -> None:
        with self.switchboard.rooms.pinned("refused"):
            self.answer(error=Error(ErrorCode(ErrorCode.INVALID_ARGUMENT)))

    def a_join_is_put_off(self) -> None:
        with self.switchboard.rooms.pinned("put off"):
            self.answer(error=Error(ErrorCode(ErrorCode.UNAVAILABLE), retryable=True))

    def anything_else_is_refused(self) -> None:
        self.switchboard.receive(RelayResponse([RelayEvent(10**9, error=Error())]))

    def it_joins_and_leaves(self) -> None:
        self.enter("another")
        self.switchboard.rooms.leave(self.client, "another")

    def a_send_is_stored(self) -> None:
        self.send(self.client, "own", "ada", next(self.numbers))
        self.answer(chat_message=ChatMessage("", "own", "ada", "hello", 1))

    def a_send_is_refused(self) -> None:
        self.send(self.client, "nowhere", "ada", next(self.numbers))
        self.answer(error=Error(ErrorCode(ErrorCode.INVALID_ARGUMENT)))

    def it_comes_and_goes(self) -> None:
        client, self.client = self.client, Deaf()
        self.enter("another")
        self.a_send_is_stored()
        self.switchboard.close(self.client)
        self.client = client


@pytest.mark.parametrize(
    "work",
    [
        Crowd.a_join_is_refused,
        Crowd.a_join_is_put_off,
        Crowd.anything_else_is_refused,
        Crowd.it_joins_and_leaves,
        Crowd.a_send_is_stored,
        Crowd.a_send_is_refused,
        Crowd.it_comes_and_goes,
    ],
)
async def test_client_action_has_constant_cost(work: Callable[[Crowd], None]) -> None:
    few, many = [cost(partial(work, Crowd(others))) for others in (FEW, MANY)]
    assert many.lines == few.lines
    assert many.peak_bytes < few.peak_bytes + NOISE_BYTES
