"""The exception of all decoders."""

from typing import Final

_MAX_PATH: Final = 200


class DecodeError(ValueError):
    """Input that is not a message of the expected type.

    Attributes:
        path: The invalid field, in names of the schema (``users[3].name``); empty for the whole
            input.
        reason: The broken rule: short, without control characters.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason

    def within(self, parent: str) -> "DecodeError":
        """Returns the same error with the path seen from one level up.

        Args:
            parent: The name of the containing field, with the index if it is
                repeated.
        """
        if not parent or len(self.path) > _MAX_PATH:
            return self
        separator = "." if self.path and not self.path.startswith("[") else ""
        return DecodeError(f"{parent}{separator}{self.path}", self.reason)


def quoted(text: str) -> str:
    """Returns a piece of the input for an error text: short and printable."""
    shown = text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shown)


_MAX_SHOWN: Final = 40
