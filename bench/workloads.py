"""The workloads, as data."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Workload:
    """Clients in rooms, some of which send.

    Without a rate it is a closed loop: a sender keeps a number of messages in flight, and
    sends the next one when one returns to it.

    Attributes:
        name: its name on the command line and in the results.
        rooms: the number of rooms.
        members: the number of clients in each room, including senders. The senders
            join last, so that their own messages reach them after the others.
        senders: the number of senders in each room; at most 24.
        in_flight: the number of messages that each sender keeps in flight.
        rate: the messages per second of all senders together, whatever returns to them; a
            room has one sender then.
    """

    name: str
    rooms: int
    members: int
    senders: int
    in_flight: int
    rate: float = 0.0

    @property
    def clients(self) -> int:
        """The number of clients in all rooms."""
        return self.rooms * self.members

    def __str__(self) -> str:
        """A short description."""
        if self.members == 1:
            where = f"{self.clients:,} clients, a room each"
        elif self.rooms == 1:
            where = f"{self.clients:,} clients in a room"
        else:
            where = f"{self.rooms:,} rooms of {self.members:,}"
        if not self.senders:
            return f"{where}, none sending"
        if self.rate:
            return f"{where}, {self.rate:g} messages/s"
        senders = "" if self.members == 1 else f", {self.senders} sending"
        return f"{where}{senders}, {self.in_flight} in flight"


ECHO_1: Final = Workload("echo-1", rooms=50, members=1, senders=1, in_flight=1)
ECHO_16: Final = Workload("echo-16", rooms=50, members=1, senders=1, in_flight=16)
FAN_OUT: Final = Workload("fan-out", rooms=1, members=1000, senders=1, in_flight=1)
BUSY_ROOM: Final = Workload("busy-room", rooms=1, members=1000, senders=20, in_flight=2)
ROOMS: Final = Workload("rooms", rooms=200, members=5, senders=1, in_flight=1)

# Ten more clients that do not read are added to these.
HEALTHY: Final = Workload("slow", rooms=1, members=190, senders=20, in_flight=2)

# Of several nodes: one room of a conversation that never pauses, and the way from one client
# to another, which is at the next node if there are several.
ONE_ROOM: Final = Workload("one-room", rooms=1, members=24, senders=24, in_flight=8)
STEADY: Final = Workload("steady", rooms=10, members=2, senders=1, in_flight=0, rate=300.0)

# No senders: the memory of a silent client in a room.
IDLE: Final = Workload("idle", rooms=600, members=5, senders=0, in_flight=0)

DRIVEN: Final = (ECHO_1, ECHO_16, FAN_OUT, BUSY_ROOM, ROOMS)
COMPARED: Final = (*DRIVEN, IDLE)

# The thousand clients of the busy room, in more and more rooms; only on request.
SPREAD: Final = (
    Workload("10-rooms", rooms=10, members=100, senders=2, in_flight=2),
    Workload("100-rooms", rooms=100, members=10, senders=1, in_flight=1),
    Workload("1000-rooms", rooms=1000, members=1, senders=1, in_flight=1),
)

ALL: Final = (*COMPARED, *SPREAD, ONE_ROOM, STEADY)
