"""What the proxy itself requires of a user's id: pure.

The server has the rule for ids. But of whom a client joins a room for, and who types there, it is
told by the proxy for many clients at once: what it would refuse must not come from one of them.
"""

import re
from typing import Final

LONGEST: Final = 1024
"""More characters than any server allows that is in its senses; this bounds what is kept."""

# As the server has it, if nothing else was set there.
_USUAL: Final = 64

# C0, DEL and C1, and the two separators that end a line in a log.
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def fault_of(user_id: str) -> str:
    """Returns the rule that a user's id breaks; empty if it breaks none, or is empty."""
    if len(user_id) > LONGEST:
        return f"must have at most {LONGEST} characters"
    if _CONTROL.search(user_id):
        return "must not contain control characters"
    return ""


def is_plain(user_id: str) -> bool:
    """Whether any server takes an id, so that it may be shown before the server tells it.

    It has no character that is invisible or turns the direction of text: it looks like itself.
    """
    return len(user_id) <= _USUAL and user_id.isprintable()
