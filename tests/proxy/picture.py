"""What a client knows of one room, as the documentation tells it to keep it."""

from typing import Any, NamedTuple

Frame = dict[str, Any]


class Shown(NamedTuple):
    """A message as it is shown.

    Attributes:
        change: its last change; 0 if it never changed.
        content: its text.
        state: what became of it.
    """

    change: int
    content: str
    state: Frame | None


class Picture:
    """The messages of a room, with the position of the client.

    It checks what it is told: positions without a gap, spans that chain, and no change of a
    message that did not come.

    Attributes:
        epoch: as told last.
        seq: the last message.
        change: the last change; `None` if none are told.
        messages: by position, from the first that came on.
        resets: how many times it was told that there is a gap.
    """

    def __init__(self) -> None:
        self.epoch = ""
        self.seq = 0
        self.change: int | None = None
        self.messages: dict[int, Shown] = {}
        self.resets = 0

    @property
    def position(self) -> Frame:
        """The fields of a `join` that goes on from here."""
        position: Frame = {"after_seq": self.seq, "epoch": self.epoch}
        return position if self.change is None else position | {"after_change": self.change}

    def take(self, frame: Frame) -> None:
        """Takes a frame."""
        if "joined" in frame:
            self._take_joined(frame["joined"])
        elif "chat_message" in frame:
            message = frame["chat_message"]
            assert message["seq"] == self.seq + 1, (message, self.seq)
            self.seq += 1
            self.messages[self.seq] = shown(message)
        elif "changes" in frame:
            self._take_changes(frame["changes"])
        else:
            raise AssertionError(frame)

    def take_all(self, frames: list[Frame]) -> None:
        for frame in frames:
            self.take(frame)

    def _take_joined(self, joined: Frame) -> None:
        if joined["recovered"]:
            assert joined["epoch"] == self.epoch
            if self.change is None:
                self.change = joined.get("last_change")
            return
        self.resets += 1
        self.messages.clear()
        self.epoch, self.seq = joined["epoch"], joined["last_seq"]
        self.change = joined.get("last_change")

    def _take_changes(self, changes: Frame) -> None:
        assert self.change is not None
        assert changes["after_change"] <= self.change, (changes, self.change)
        assert changes["after_change"] <= changes["last_change"]
        for told in changes["messages"]:
            assert told["seq"] <= self.seq, (told, self.seq)
            known = self.messages.get(told["seq"])
            if known is not None and told["state"]["change"] > known.change:
                content = told.get("content", known.content)
                state = told["state"]
                self.messages[told["seq"]] = Shown(state["change"], content, state)
        self.change = max(self.change, changes["last_change"])


def shown(message: Frame) -> Shown:
    """Returns a message of the history or of a room as it is shown."""
    state = message.get("extra", {}).get("state")
    return Shown(state["change"] if state else 0, message["content"], state)
