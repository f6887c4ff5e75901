"""Lists of texts as columns: all of them joined, and the length of each.

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
