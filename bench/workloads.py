"""What is measured, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Workload:
    """Clients in rooms, some of whom send as fast as they are answered.

    It is a closed loop: a sender keeps a number of messages under way, and sends the
    next one when one comes back to it.

    Attributes:
        name: what it is called on the command line and in the results.
        rooms: how many rooms.
        members: how many clients are in each of them, the senders included. The senders
            are the last to enter, so that what comes back to them went to the others.
        senders: how many of them send; at most 24.
        in_flight: how many messages each sender keeps under way.
    """

    name: str
    rooms: int
    members: int
    senders: int
    in_flight: int

    @property
    def clients(self) -> int:
        """How many clients there are in all rooms."""
        return self.rooms * self.members

    def __str__(self) -> str:
        """What it is, in a few words."""
        if self.members == 1:
            where = f"{self.clients:,} clients, a room each"
        elif self.rooms == 1:
            where = f"{self.clients:,} clients in a room"
        else:
            where = f"{self.rooms:,} rooms of {self.members:,}"
        if not self.senders:
            return f"{where}, none sending"
        senders = "" if self.members == 1 else f", {self.senders} sending"
        return f"{where}{senders}, {self.in_flight} in flight"


ECHO_1: Final = Workload("echo-1", rooms=50, members=1, senders=1, in_flight=1)
ECHO_16: Final = Workload("echo-16", rooms=50, members=1, senders=1, in_flight=16)
FAN_OUT: Final = Workload("fan-out", rooms=1, members=1000, senders=1, in_flight=1)
BUSY_ROOM: Final = Workload("busy-room", rooms=1, members=1000, senders=20, in_flight=2)
ROOMS: Final = Workload("rooms", rooms=200, members=5, senders=1, in_flight=1)

# Beside these, ten more that do not read.
HEALTHY: Final = Workload("slow", rooms=1, members=190, senders=20, in_flight=2)

# Nobody sends: what a client takes that has joined and is silent.
IDLE: Final = Workload("idle", rooms=600, members=5, senders=0, in_flight=0)

DRIVEN: Final = (ECHO_1, ECHO_16, FAN_OUT, BUSY_ROOM, ROOMS)
COMPARED: Final = (*DRIVEN, IDLE)

# The thousand clients of the busy room, in more and more rooms; only if they are asked for.
SPREAD: Final = (
    Workload("10-rooms", rooms=10, members=100, senders=2, in_flight=2),
    Workload("100-rooms", rooms=100, members=10, senders=1, in_flight=1),
    Workload("1000-rooms", rooms=1000, members=1, senders=1, in_flight=1),
)
