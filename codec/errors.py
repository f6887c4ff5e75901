"""The one exception of the codec's readers."""

from typing import Final

_MAX_PATH: Final = 200


class DecodeError(ValueError):
    """Input that is not a message of the expected type.

    Attributes:
        path: Where the fault is, as the schema names it (``users[3].name``); empty for the whole
            input.
        reason: What is wrong there, short, without control characters.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason

    def within(self, parent: str) -> "DecodeError":
        """Returns the same fault as seen from one level further out.

        Args:
            parent: The name of the field that holds the faulty value, with its index if it is
                repeated.
        """
        if not parent or len(self.path) > _MAX_PATH:
            return self
        separator = "." if self.path and not self.path.startswith("[") else ""
        return DecodeError(f"{parent}{separator}{self.path}", self.reason)


def quoted(text: str) -> str:
    """Returns a piece of the input that is fit to be shown: short and printable."""
    shown = text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shown)


_MAX_SHOWN: Final = 40
