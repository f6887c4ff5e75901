"""Visually distinct and confusable ids."""

import json
import unicodedata

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from chat.core.names import id_fault, name_fault
from chat.core.rules import Limits, Rules
from chat.errors import InvalidArgument
from tests.support import message

RULES = Rules(Limits())

SPACES = "must not contain spaces but single ones (U+0020) between other characters"
FORM = "must be in Unicode's normalization form C (NFC)"
INVISIBLE = "must not contain invisible characters"
CONTROL = "must not contain control characters"
TEXT = "must be Unicode text, without surrogates"
EDGE = "must not begin or end with a space"
TURNING = "must not contain characters that turn the direction of text"

GOOD_IDS = [
    "ada", "a", "-", "Ada Lovelace", "ada@example.com", "auth0|5f7c8ec7c33c6c004bbafe82",
    "é", "café", "Ελένη", "Дмитрий", "田中 太郎", "김철수", "นิดา", "أحمد", "שרה",
    # Farsi and Urdu need a zero-width non-joiner, Sinhala and Hindi a joiner.
    "\u06af\u0641\u062a\u200c\u0648\u06af\u0648",
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "ශ්\u200dරී", "क्\u200dष", "क्\u200cष",
    # Emoji: a family, a profession with a skin tone, a heart, a flag, a keycap.
    "👨\u200d👩\u200d👧", "👩🏽\u200d💻", "❤\ufe0f", "🏳\ufe0f\u200d🌈", "🇫🇷", "1\ufe0f\u20e3",
    # Combining characters without a composed form, and private use.
    "q\u0303", "\ue000", "a\u0378",
]  # fmt: skip


@pytest.mark.parametrize("value", GOOD_IDS)
def test_ids_of_all_scripts_are_accepted(value: str) -> None:
    assert id_fault(value) == ""
    assert RULES.message(message(room_id=value, sender_id=value, key=value))


BAD_IDS = [
    *[(text, SPACES) for text in ("ada ", " ada", " ", "ada  l", "a\u00a0b", "a\u3000b")],
    *[(text, SPACES) for text in ("a\u2003b", "\u2800", "a\u2800", "ada\u2009")],
    *[(text, FORM) for text in ("cafe\u0301", "A\u030angstrom", "\u212b", "\uf900")],
    *[
        (text, INVISIBLE)
        for text in (
            *("ada\u200b", "\u200bada", "a\u200cda", "a\u200dda", "ada\u2060", "\ufeffada"),
            *("ada\u00ad", "ada\u034f", "ada\ufe0f", "ada\ufe00", "ada\u3164", "\u115fada"),
            *("\u202eada", "ada\u2066", "ada\u200e", "ada\u200f", "ada\u061c", "ada\u180e"),
            *("ada\U000e0041", "ada\U000e0100", "\U0001d173", "ada\ufff9", "ada\u206a"),
            # After a letter that joins to no other, a non-joiner is invisible.
            *("د\u200cر", "گفت\u200c", "\u200cگفت", "1\ufe0f", "👩\u200d", "👩\u200dx"),
        )
    ],
    *[(f"ada{character}", CONTROL) for character in "\0\n\x1f\x7f\x85\u2028\u2029"],
    ("ada\ud83d", TEXT),
    ("\udcff", TEXT),
]


@pytest.mark.parametrize(("value", "fault"), BAD_IDS)
def test_confusable_ids_are_refused(value: str, fault: str) -> None:
    assert id_fault(value) == fault
    if fault in (CONTROL, TEXT):
        for field in ("room_id", "sender_id", "key"):
            with pytest.raises(InvalidArgument, match=fault):
                RULES.message(message(**{"room_id": "r", field: value}))
    else:
        # Known ids may be used; message ids are up to the client.
        assert not RULES.message(message(room_id=value))
        assert not RULES.message(message(sender_id=value))
        assert RULES.message(message(key=value))


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        *[(name, "") for name in GOOD_IDS],
        *[(name, "") for name in ("cafe\u0301", "a\u00a0b", "Ada  L.", "a\u200fb", "👩\u200dx")],
        *[(name, EDGE) for name in (" ada", "ada ", "ada\u00a0", "\u3000", "\u2800", "ada\u200b")],
        *[(name, EDGE) for name in ("\ufeffada", "\u3164", "ada\u2060", "ada\u200d")],
        *[(f"a{mark}b", TURNING) for mark in "\u202a\u202b\u202c\u202d\u202e"],
        *[(f"a{mark}b", TURNING) for mark in "\u2066\u2067\u2068\u2069"],
        ("a\nb", CONTROL),
        ("a\ud83d", TEXT),
    ],
)  # fmt: skip
def test_display_names(name: str, fault: str) -> None:
    assert name_fault(name) == fault


ANYTHING = st.text(
    st.characters(exclude_categories=[])
    | st.sampled_from("a \u200b\u200c\u200d\ufe0f\u00a0\u0301é\u2800❤👩\u094dक\u064aگ\ud83d\n"),
    min_size=1,
    max_size=12,
)


@given(ANYTHING)
@example("cafe\u0301")
def test_new_id_survives_normalization(text: str) -> None:
    assume(not id_fault(text))
    assert text.encode().decode() == text
    assert json.loads(json.dumps(text)) == text
    assert unicodedata.normalize("NFC", text) == text
    assert text.strip() == text


@given(ANYTHING, st.integers(0, 12), st.sampled_from("\u200b\u2060\u00ad\u202e\u2066\ufeff\u3164"))
def test_invisible_characters_are_refused(text: str, place: int, mark: str) -> None:
    assert id_fault(text[:place] + mark + text[place:])


@given(st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=12), st.data())
def test_joiners_are_refused_in_other_scripts(text: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(text)))
    near = text[max(place - 1, 0) : place + 1]
    assume(not any(unicodedata.name(each, "").startswith("ARABIC") for each in near))
    mark = data.draw(st.sampled_from("\u200c\u200d"))
    assert id_fault(text[:place] + mark + text[place:])


@given(st.lists(ANYTHING, min_size=1, max_size=4), st.sampled_from(["", "b", "k k"]))
@example([" a", "b"], "")
@example(["e", "\u0301"], "")
@example(["a", " ", "b"], "")
def test_bulk_check_passes_no_invalid_id(texts: list[str], more: str) -> None:
    """It may be unsure; then each id is checked."""
    texts = [*texts, *filter(None, [more])]
    joined, lengths = "".join(texts), [len(each) for each in texts]
    if RULES.are_ids(joined, lengths):
        assert [id_fault(each) for each in texts] == [""] * len(texts)
    if RULES.are_keys(joined, lengths):
        for text in texts:
            RULES.identifier(text, "id")


@pytest.mark.parametrize("texts", [["ada", "bob"], ["Book club", "lobby"], ["é", "田中"]])
def test_bulk_check_passes_common_ids(texts: list[str]) -> None:
    assert RULES.are_ids("".join(texts), [len(each) for each in texts])
