"""Rules of ids and names: pure decisions about texts.

Two texts that people cannot tell apart must not be two users or two rooms. So an id of a
new one

- is in normalization form C (UAX #15). It is refused and not normalised if it is not: the
  id that comes back is the id that was sent, by which a client knows its message again;
- has no spaces but U+0020, each between two other characters, as RFC 8266 has it;
- has no invisible characters (format characters, and what else Unicode has displays
  ignore), except where scripts and emoji need them: a joiner after a virama, a non-joiner
  between letters that would join (RFC 5892, appendices A.1 and A.2), a joiner between two
  emoji, a variation selector after one.

An id that was stored under an older rule stays in use: of a user or room that is known, an id
has no more than characters which are text and not control characters. Letters of different
scripts that look alike are let through; to find them takes tables (UTS #39).

Each function returns the fault, or an empty text.
"""

import re
import unicodedata
from typing import Final

from hosting.text import is_text

# C0, DEL and C1: the control characters of Unicode (category Cc), and the two
# separators that end a line in a log; and surrogates, which are no characters.
CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# Category Cf, and the property Default_Ignorable_Code_Point. It is written out: a newer
# Python must not refuse what an older one let through.
_INVISIBLE: Final = re.compile(
    "[\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# All but U+0020, and the blank pattern of Braille.
_OTHER_SPACE: Final = re.compile("[^\\S ]|\u2800")
# Letters that join on both sides, and those that join to what is before them, in Arabic
# script (ArabicShaping.txt, types D and R).
_JOINS_ON: Final = re.compile(
    "[\u0620\u0626\u0628\u062a-\u062e\u0633-\u063f\u0641-\u0647\u0649\u064a\u066e\u066f"
    "\u0678-\u0687\u069a-\u06bf\u06c1\u06c2\u06cc\u06ce\u06d0\u06d1\u06fa-\u06fc\u06ff]"
)
_JOINS_BACK: Final = re.compile(
    "[\u0620\u0622-\u063f\u0641-\u064a\u066e\u066f\u0671-\u0673\u0675-\u06d3\u06d5\u06ee\u06ef"
    "\u06fa-\u06fc\u06ff]"
)
# What has, or may have, a picture: wide, because new ones are added all the time.
_EMOJI: Final = re.compile(
    "[\xa9\xae\u203c\u2049\u2100-\u214f\u2190-\u23ff\u2460-\u24ff\u25a0-\u27bf\u2900-\u297f"
    "\u2b00-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
)
_KEYCAP: Final = re.compile("[#*0-9]\ufe0f\u20e3")
_NON_JOINER: Final = "\u200c"
_JOINER: Final = "\u200d"
_AS_EMOJI: Final = "\ufe0f"
_VIRAMA: Final = 9
# What turns the direction of the text behind it, also of what stands beside the name.
_TURNING: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")
# Spaces, and what is as wide as none.
_EDGE: Final = re.compile(
    "^[\\s\u2800\u200b\u2060\ufeff\xad\u3164\uffa0\u115f\u1160]"
    "|[\\s\u2800\u200b-\u200d\u2060\ufeff\xad\u3164\uffa0\u115f\u1160]\\Z"
)


def text_fault(text: str) -> str:
    """Returns the fault of any id, also of one that is known for long."""
    if not CONTROL.search(text):
        return ""
    if not is_text(text):
        return "must be Unicode text, without surrogates"
    return "must not contain control characters"


def id_fault(text: str) -> str:
    """Returns the fault of the id of a new user or room."""
    if text.isascii() and text.isprintable() and " " not in text:
        return ""
    if fault := text_fault(text):
        return fault
    if not is_spaced(text) or _OTHER_SPACE.search(text):
        return "must not contain spaces but single ones (U+0020) between other characters"
    if not unicodedata.is_normalized("NFC", text):
        return "must be in Unicode's normalization form C (NFC)"
    if not all(_is_needed(text, found.start()) for found in _INVISIBLE.finditer(text)):
        return "must not contain invisible characters"
    return ""


def name_fault(text: str) -> str:
    """Returns the fault of a name that is shown, which need not be unique."""
    if fault := text_fault(text):
        return fault
    if _EDGE.search(text):
        return "must not begin or end with a space"
    if _TURNING.search(text):
        return "must not contain characters that turn the direction of text"
    return ""


def are_plain(joined: str) -> bool:
    """Whether each of some texts may be the id of a new user or room, by all of them joined.

    If not, some of them may be all the same: a look at each tells. Spaces are not looked at.
    """
    if joined.isascii():
        return joined.isprintable()
    return (
        joined.isprintable()
        and not _INVISIBLE.search(joined)
        and "\u2800" not in joined
        # It is closed under cutting texts up.
        and unicodedata.is_normalized("NFC", joined)
    )


def is_spaced(text: str) -> bool:
    """Whether the spaces (U+0020) of an id stand singly between other characters."""
    return text == text.strip(" ") and "  " not in text


def _is_needed(text: str, at: int) -> bool:
    """Whether an invisible character does something where it stands."""
    mark, before, after = text[at], text[:at][-1:], text[at + 1 : at + 2]
    if not before:
        return False
    if mark in (_JOINER, _NON_JOINER) and unicodedata.combining(before) == _VIRAMA:
        return True
    if mark == _NON_JOINER:
        return bool(_JOINS_ON.match(before) and _JOINS_BACK.match(after))
    if mark == _JOINER:
        return bool((before == _AS_EMOJI or _EMOJI.match(before)) and _EMOJI.match(after))
    if mark == _AS_EMOJI:
        return bool(_EMOJI.match(before) or _KEYCAP.match(text, at - 1))
    return False
