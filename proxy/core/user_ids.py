"""What the proxy itself requires of a user's id: pure.

The server has the rule for ids. But of whom a client joins a room for, and who types there, it is
told by the proxy for many clients at once: what it would refuse must not come from one of them.
"""

import re
from typing import Final

LONGEST: Final = 1024
"""More characters than any server allows that is in its senses; this bounds what is kept."""

# C0, DEL and C1, and the two separators that end a line in a log.
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def fault_of(user_id: str) -> str:
    """Returns the rule that a user's id breaks; empty if it breaks none, or is empty."""
    if len(user_id) > LONGEST:
        return f"must have at most {LONGEST} characters"
    if _CONTROL.search(user_id):
        return "must not contain control characters"
    return ""
