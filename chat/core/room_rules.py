"""The rules of what is known of a room, and of requests that list rooms or users: pure checks.

======================  ====================================================
`title`                 at most 64 characters; as a name that is shown
`topic`                 at most 1 KiB of UTF-8, no control characters but
                        line breaks (U+000A)
`query`                 at most 64 characters, no control characters
`room_ids`, `user_ids`  at most 500 ids, each once
======================  ====================================================

Each function raises `InvalidArgument`, whose text begins with the path.
"""

from collections.abc import Sequence
from typing import Final

from chat.core.names import name_fault, text_fault
from chat.core.rules import LARGEST_PAGE, Rules
from chat.errors import InvalidArgument
from gen.chat import Room

LONGEST_TITLE: Final = 64
"""The most characters of a title."""
LARGEST_TOPIC: Final = 1024
"""The most bytes of a topic."""
LONGEST_QUERY: Final = 64
"""The most characters that rooms are looked for by."""


def check_room(rules: Rules, room: Room, path: str) -> None:
    """Checks what is to be known of a room, but whether there may be a room of such an id."""
    rules.identifier(room.id, f"{path}.id")
    _check_length(room.title, LONGEST_TITLE, f"{path}.title")
    if fault := name_fault(room.title):
        raise InvalidArgument(f"{path}.title", fault)
    if fault := text_fault(room.topic.replace("\n", "")):
        raise InvalidArgument(f"{path}.topic", fault)
    if len(room.topic.encode()) > LARGEST_TOPIC:
        raise InvalidArgument(f"{path}.topic", f"must have at most {LARGEST_TOPIC} bytes of UTF-8")


def check_query(query: str, path: str) -> None:
    """Checks a text that rooms are looked for by; it may be empty."""
    _check_length(query, LONGEST_QUERY, path)
    if fault := text_fault(query):
        raise InvalidArgument(path, fault)


def check_ids(rules: Rules, ids: Sequence[str], path: str) -> None:
    """Checks the ids that a page is asked for; there may be none."""
    if len(ids) > LARGEST_PAGE:
        raise InvalidArgument(path, f"must have at most {LARGEST_PAGE} ids")
    for number, each in enumerate(ids):
        rules.identifier(each, f"{path}[{number}]")
    if len(set(ids)) < len(ids):
        raise InvalidArgument(path, "must have each id once")


def _check_length(text: str, most: int, path: str) -> None:
    if len(text) > most:
        raise InvalidArgument(path, f"must have at most {most} characters")
