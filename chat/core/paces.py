"""How long people are there or type, and how often it is told."""

from dataclasses import dataclass

from chat.core.attendance import LINGER_SECONDS
from chat.core.telling_presence import PRESENCE_SECONDS
from chat.core.telling_typists import TYPING_SECONDS
from chat.core.typists import HOLD_SECONDS


@dataclass(frozen=True, slots=True)
class Paces:
    """Times of presence and typing, in seconds. Clients are told of none but `hold`.

    Attributes:
        presence: between two times that followers of a room are told who is there.
        linger: how long users are in a room whose last client has gone.
        typing: between two times that followers of a room are told who types.
        hold: how long somebody types who says so once.
    """

    presence: float = PRESENCE_SECONDS
    linger: float = LINGER_SECONDS
    typing: float = TYPING_SECONDS
    hold: float = HOLD_SECONDS
