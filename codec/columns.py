"""Columns: a list of texts as one joined text and the length of each; and the UTF-8 size of a text.

Joining and splitting take few calls into C, however many texts there are.
"""

from .errors import DecodeError


def lengths_of(texts: list[str]) -> list[int]:
    """Returns the length of each text, in code points."""
    return list(map(len, texts))


def split(joined: str, lengths: list[int]) -> list[str]:
    """Returns the texts of a column.

    Raises:
        DecodeError: The lengths do not add up to the joined text.
    """
    if sum(lengths) != len(joined):
        raise DecodeError("", "a column has another length than its texts have together")
    end = 0
    return [joined[end : (end := end + length)] for length in lengths]


def utf8_length(text: str) -> int:
    """Returns the size of a text in UTF-8, in bytes; a lone surrogate counts as three."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
