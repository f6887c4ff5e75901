"""Tokens of pages: where the next page begins, for the server alone to read.

A token is the base64 (RFC 4648, section 5) of a check, a number and a text. The check is of
these and of the question that they belong to, so that a token of another question is told
apart, as is anything else that somebody made up. It is no secret: who makes one up with effort
gets a page that begins elsewhere.
"""

import base64
from hashlib import blake2b
from typing import Final

from chat.errors import InvalidArgument

Position = tuple[str, int]
"""Kind and change of a reaction; or the id of a room or user, and 0."""

_CHECK_BYTES: Final = 6
_NUMBER_BYTES: Final = 4
_FAULT: Final = "must be the next_page_token of an answer to the same request, or empty"


def page_token(question: tuple[str, ...], after: Position) -> str:
    """Makes a token.

    Args:
        question: what the page is of.
        after: what was last on the page before.
    """
    text, number = after
    place = number.to_bytes(_NUMBER_BYTES, "big") + text.encode()
    return base64.urlsafe_b64encode(_check(question, place) + place).decode()


def read_page_token(question: tuple[str, ...], token: str, path: str) -> Position | None:
    """Reads a token; `None` for an empty one, which stands for the first page.

    Raises:
        InvalidArgument: it is not of a page of that.
    """
    if not token:
        return None
    try:
        read = base64.b64decode(token, altchars="-_", validate=True)
        place = read[_CHECK_BYTES:]
        text = place[_NUMBER_BYTES:].decode()
    except ValueError:
        raise InvalidArgument(path, _FAULT) from None
    # No id has a NUL, and not every engine could be asked about one.
    if read[:_CHECK_BYTES] != _check(question, place) or not text or "\0" in text:
        raise InvalidArgument(path, _FAULT)
    return text, int.from_bytes(place[:_NUMBER_BYTES], "big")


def _check(question: tuple[str, ...], place: bytes) -> bytes:
    hashed = blake2b(place, digest_size=_CHECK_BYTES)
    for each in question:
        text = each.encode()
        hashed.update(len(text).to_bytes(_NUMBER_BYTES, "big") + text)
    return hashed.digest()
