"""What a client knows of a room whose changes it follows, and what it must never be told: no I/O.

The rules are those of docs/websocket-api.md, "Changes of messages". A picture starts with
nothing, is brought forward by frames alone, and has to be the history in the end.
"""

from dataclasses import dataclass, field
from typing import Any

from tests.faults.company import Company

Frame = dict[str, Any]


@dataclass(slots=True)
class Picture:
    """A room as one client knows it.

    Attributes:
        epoch: of its history.
        seq: the newest position that it has.
        change: the newest change that it has.
        messages: as they stand, by position.
        room: what is known of the room itself.
        company: who is there, and who types.
        faults: what was wrong with what it was told, in words.
    """

    epoch: str = ""
    seq: int = 0
    change: int = 0
    messages: dict[int, Frame] = field(default_factory=dict)
    room: Frame = field(default_factory=dict)
    company: Company = field(default_factory=Company)
    faults: list[str] = field(default_factory=list)

    @property
    def position(self) -> Frame:
        """The fields of a `join` that goes on from here."""
        position: Frame = {"after_seq": self.seq, "after_change": self.change}
        return position | ({"epoch": self.epoch} if self.epoch else {})

    def joined(self, joined: Frame) -> bool:
        """Takes an answer to a join; returns whether it goes on from where this was."""
        if joined["recovered"]:
            self.epoch = joined["epoch"]
            if joined["last_change"] < self.change:
                self.faults.append(f"changes went back from {self.change} to {joined}")
            return True
        # All of it is of another history, or too much was missed: from the start again.
        self.seq = self.change = 0
        self.messages.clear()
        self.room = {}
        self.epoch = ""
        return False

    def hear(self, message: Frame) -> None:
        """Takes a message of the room; one that came before is the answer to a repeated one."""
        seq = message["seq"]
        if seq > self.seq + 1:
            self.faults.append(f"message {seq} came after {self.seq}")
        if seq > self.seq:
            self.seq = seq
            self.messages[seq] = message
        else:
            self.take(message)

    def hear_changes(self, changes: Frame) -> None:
        """Takes what changed."""
        after, last = changes["after_change"], changes["last_change"]
        if after > self.change:
            self.faults.append(f"changes behind {after} came after {self.change}")
        if (room := changes.get("room")) is not None:
            if not after < room["change"] <= last:
                self.faults.append(f"change {room['change']} of the room came in {after} to {last}")
            self.take_room(room)
        for each in changes["messages"]:
            seq, state = each["seq"], each["state"]
            if seq > self.seq:
                self.faults.append(f"a change of message {seq} came before it")
                continue
            if state["change"] <= after:
                self.faults.append(f"change {state['change']} came in {after} to {last}")
            known = self.messages[seq]
            told = {"content": each.get("content", known["content"])}
            extra = {} if "deleted_at" in state else known.get("extra", {})
            self.take(known | told | {"extra": extra | {"state": state}})
        self.change = max(self.change, last)

    def take(self, message: Frame) -> None:
        """Takes a message as it stands, wherever that is from."""
        known = self.messages.get(message["seq"])
        if known is not None and number(message) > number(known):
            self.messages[message["seq"]] = message

    def take_room(self, room: Frame) -> None:
        """Takes the room as it stands, wherever that is from."""
        if room["change"] > self.room.get("change", 0):
            self.room = room


def number(message: Frame) -> int:
    """The number of the change that made a message what it is; 0 if there is none."""
    found: int = message.get("extra", {}).get("state", {}).get("change", 0)
    return found


def shown(message: Frame) -> tuple[object, ...]:
    """What a person sees of a message."""
    extra = message.get("extra", {})
    state = extra.get("state", {})
    reactions = [(r["emoji"], r["count"], tuple(r["user_ids"])) for r in state.get("reactions", [])]
    return (
        message["id"], message["content"], number(message), "deleted_at" in state,
        state.get("pinned", False), extra.get("reply_to"), tuple(extra.get("mentions", ())),
        tuple(reactions),
    )  # fmt: skip


def named(room: Frame) -> tuple[object, ...]:
    """What a person sees of a room itself."""
    return room.get("title", ""), room.get("topic", ""), room.get("change", 0)


def differences(
    picture: Picture, history: list[Frame], last_change: int, room: Frame | None = None
) -> list[str]:
    """Compares a picture with the history and the room itself, at rest."""
    found = [*picture.faults, *picture.company.faults]
    if named(picture.room) != named(room or {}):
        found.append(f"knows the room as {picture.room}, and it is {room}")
    if picture.seq != len(history):
        found.append(f"has {picture.seq} messages of {len(history)}")
    if picture.change != last_change:
        found.append(f"has change {picture.change}, and the room {last_change}")
    for message in history:
        known = picture.messages.get(message["seq"])
        if known is not None and shown(known) != shown(message):
            found.append(f"knows {shown(known)}, and the history has {shown(message)}")
    return found
