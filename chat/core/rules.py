"""The rules that requests obey: pure checks that name the field and the rule."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from email_validator import EmailNotValidError, validate_email

from chat.core.names import CONTROL, are_plain, id_fault, is_spaced, text_fault
from chat.errors import InvalidArgument
from codec.columns import split
from gen.chat import ChatMessage
from hosting.kinds import whole
from hosting.settings import Settings, setting

# RFC 5321, section 4.5.3.1.3, without the brackets.
_LONGEST_EMAIL: Final = 254
_REMEMBERED: Final = 1024
LARGEST_CONTENT: Final = 1024 * 1024
DEFAULT_PAGE: Final = 50
LARGEST_PAGE: Final = 500
MOST_TONES: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits(Settings):
    """Bounds of what requests may hold."""

    content_bytes: int = setting(
        16 * 1024,
        whole(1, LARGEST_CONTENT),
        "The longest text of a message, in bytes of UTF-8, at most 1 MiB. The largest request of "
        "a gRPC client is this plus 48 KiB.",
        group="Requests",
    )
    id_length: int = setting(64, whole(1), "The longest id or name, in characters.")
    rooms_per_stream: int = setting(
        1000, whole(1), "The maximum number of rooms of one `Chat` stream."
    )
    users_per_stream: int = setting(
        1000, whole(1), "The maximum number of users as whom one `Chat` stream may send."
    )
    rooms_per_proxy: int = setting(
        1_000_000, whole(1), "The maximum number of rooms of one proxy, for all its clients."
    )
    users_per_proxy: int = setting(
        1_000_000, whole(1), "The maximum number of users for whom one proxy may act."
    )


class Rules:
    """Checks requests against limits.

    Each method raises `InvalidArgument`, whose text begins with the path.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        # The same few ids come again and again.
        self._id_fault = lru_cache(_REMEMBERED)(id_fault)

    def identifier(self, value: str, path: str) -> None:
        """Checks the rules of legacy ids, too: not empty, not too long, no control characters."""
        if not value:
            raise InvalidArgument(path, "must not be empty")
        if len(value) > self.limits.id_length:
            raise InvalidArgument(path, f"must have at most {self.limits.id_length} characters")
        if fault := text_fault(value):
            raise InvalidArgument(path, fault)

    def message(self, message: ChatMessage) -> bool:
        """Checks a message that a client sends. An empty id is allowed: one is made up.

        Returns:
            False if its room or sender has an id that only a legacy one may have: the store
            must know it (see `legacy_ids`).
        """
        message_id, room_id, sender_id = message.id, message.room_id, message.sender_id
        longest = max(len(message_id), len(room_id), len(sender_id))
        # Most are in order, which one look at all three shows.
        joined = f"{message_id}{room_id}{sender_id}"
        is_plain = joined.isascii() and joined.isprintable() and " " not in joined
        if (
            not (room_id and sender_id)
            or longest > self.limits.id_length
            or not (is_plain or not CONTROL.search(joined))
        ):
            if message_id:
                self.identifier(message_id, "chat_message.id")
            self.identifier(room_id, "chat_message.room_id")
            self.identifier(sender_id, "chat_message.sender_id")
        self.content(message.content, "chat_message.content")
        return is_plain or not (self._id_fault(room_id) or self._id_fault(sender_id))

    def are_keys(self, joined: str, lengths: list[int]) -> bool:
        """Whether each of some texts may be the id of a message, or is empty.

        Args:
            joined: all of them, joined.
            lengths: how long each is; there is at least one.
        """
        return max(lengths) <= self.limits.id_length and (
            (joined.isascii() and joined.isprintable()) or not CONTROL.search(joined)
        )

    def are_ids(self, joined: str, lengths: list[int]) -> bool:
        """Whether each of some texts may be the id of a new user or room.

        If not, some may be all the same: a look at each tells.

        Args:
            joined: all of them, joined.
            lengths: how long each is; there is at least one.
        """
        return (
            min(lengths) > 0
            and max(lengths) <= self.limits.id_length
            and are_plain(joined)
            and (" " not in joined or _are_spaced(joined, lengths))
        )

    def are_short_contents(self, joined: str, lengths: list[int]) -> bool:
        """Whether each of some texts may be that of a message, and is not nearly too long."""
        return (
            min(lengths) > 0
            and max(lengths) <= self.limits.content_bytes // 4
            and "\0" not in joined
        )

    def content(self, content: str, path: str) -> None:
        """Checks the text of a message."""
        if not content:
            raise InvalidArgument(path, "must not be empty")
        # Counting characters first spares most messages the encoding.
        limit = self.limits.content_bytes
        if len(content) > limit // 4 and len(content.encode()) > limit:
            raise InvalidArgument(path, f"must have at most {limit} bytes of UTF-8")
        if "\0" in content:
            raise InvalidArgument(path, "must not contain NUL")

    def tone(self, value: int, path: str) -> None:
        """Checks the colour of a user."""
        if value > MOST_TONES:
            raise InvalidArgument(path, f"must be at most {MOST_TONES}")

    def email(self, value: str, path: str) -> None:
        """Checks the form of an e-mail address (RFC 5321, RFC 6531); empty means none."""
        if not value:
            return
        # The library would look at all of it for seconds first.
        if len(value) > _LONGEST_EMAIL:
            raise InvalidArgument(path, f"must have at most {_LONGEST_EMAIL} characters")
        try:
            validate_email(value, check_deliverability=False, strict=True)
        except EmailNotValidError:
            raise InvalidArgument(path, "must be an e-mail address, or empty") from None

    def page_size(self, asked: int, path: str) -> int:
        """Checks how many items a caller wants on a page; returns how many it gets at most."""
        if asked < 0:
            raise InvalidArgument(path, "must not be negative")
        return min(asked or DEFAULT_PAGE, LARGEST_PAGE)


def _are_spaced(joined: str, lengths: list[int]) -> bool:
    # There are few different ones.
    return sum(lengths) == len(joined) and all(map(is_spaced, set(split(joined, lengths))))
