"""Texts: lists of them as columns, all joined and the length of each; and their size encoded.

To join and to split is done by few calls of Python's own, however many texts there are.
"""

from .errors import DecodeError


def lengths_of(texts: list[str]) -> list[int]:
    """Returns how long each text is, in code points."""
    return list(map(len, texts))


def split(joined: str, lengths: list[int]) -> list[str]:
    """Returns the texts of a column.

    Raises:
        DecodeError: The lengths are not those of texts that were joined to this.
    """
    if sum(lengths) != len(joined):
        raise DecodeError("", "a column has another length than its texts have together")
    end = 0
    return [joined[end : (end := end + length)] for length in lengths]


def utf8_length(text: str) -> int:
    """Returns how many bytes a text takes in UTF-8; half of a surrogate pair counts as three."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
