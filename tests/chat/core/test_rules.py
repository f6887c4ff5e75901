"""Request validation, at each edge and one past it."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.core.rules import Limits, Rules
from chat.errors import InvalidArgument
from tests.support import message

RULES = Rules(Limits())

# Unicode's category Cc, and the line and paragraph separators.
CONTROL = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)]


def refusal(call: object, *args: object) -> str:
    """The text of the refusal; empty if there is none."""
    assert callable(call)
    try:
        call(*args)
    except InvalidArgument as error:
        return str(error)
    return ""


@pytest.mark.parametrize("value", ["a", "a" * 64, "ä" * 64, "😀" * 64, "with space", "-", "\u00a0"])
def test_identifiers(value: str) -> None:
    RULES.identifier(value, "user_id")


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("", "must not be empty"),
        ("a" * 65, "must have at most 64 characters"),
        ("😀" * 65, "must have at most 64 characters"),
        *[(f"a{character}b", "must not contain control characters") for character in CONTROL],
    ],
)
def test_wrong_identifiers_are_named(value: str, rule: str) -> None:
    assert refusal(RULES.identifier, value, "user_id") == f"user_id: {rule}"


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=64))
def test_text_without_controls_is_an_identifier(value: str) -> None:
    RULES.identifier(value, "room_id")


@pytest.mark.parametrize(
    "content",
    ["a", "a" * 16384, "ä" * 8192, "字" * 5461, "😀" * 4096, "tabs\tand\nlines", "\x01\x7f"],
)
def test_contents(content: str) -> None:
    RULES.message(message(content=content))


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("", "must not be empty"),
        ("a" * 16385, "must have at most 16384 bytes of UTF-8"),
        ("ä" * 8192 + "a", "must have at most 16384 bytes of UTF-8"),
        ("字" * 5462, "must have at most 16384 bytes of UTF-8"),
        ("😀" * 4096 + "a", "must have at most 16384 bytes of UTF-8"),
        ("nul\0", "must not contain NUL"),
    ],
)
def test_wrong_contents_are_named(content: str, rule: str) -> None:
    assert refusal(RULES.message, message(content=content)) == f"chat_message.content: {rule}"


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), st.integers(1, 40)
)
def test_content_limit_counts_bytes(content: str, limit: int) -> None:
    rules = Rules(Limits(content_bytes=limit))
    fits = len(content.encode()) <= limit
    assert (refusal(rules.message, message(content=content)) == "") == fits


def test_message_needs_no_id() -> None:
    RULES.message(message(key=""))


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        *[(each, "a" * 65, "must have at most 64 characters") for each in ("id", "room_id")],
        ("sender_id", "a" * 65, "must have at most 64 characters"),
        *[(each, "", "must not be empty") for each in ("room_id", "sender_id")],
    ],
)
def test_wrong_message_field_is_named(field: str, value: str, rule: str) -> None:
    wrong = message(key="1")
    setattr(wrong, field, value)
    assert refusal(RULES.message, wrong) == f"chat_message.{field}: {rule}"


# As documented in the WebSocket API.
EMAILS = {
    "": True,
    "ada@example.com": True,
    "a.b+c@sub.example.org": True,
    "ü@exämple.com": True,
    "ada": False,
    "ada@": False,
    "@example.com": False,
    "a@b@example.com": False,
    "ada@example": False,
    "ada @example.com": False,
    "ada@example.com\n": False,
    "ada\0@example.com": False,
    f"{'a' * 65}@example.com": False,
    f"ada@{'a' * 64}.com": False,
    "ADA@Example.COM": True,
    "e\u0301@example.com": True,
    "dä@exämple.com": True,
    f"{'ä' * 64}@example.com": True,
    f"{'ä' * 65}@example.com": False,
    '"a b"@example.com': False,
    "ada@[127.0.0.1]": False,
    "ada@localhost": False,
    "ada@host.local": False,
    "ada@example.test": False,
    "Ada <ada@example.com>": False,
    "\u202eada@example.com": False,
    "a\u200bda@example.com": False,
    "\ud83d@example.com": False,
}


@pytest.mark.parametrize("email", EMAILS)
def test_documented_email_rule_is_enforced(email: str) -> None:
    told = "" if EMAILS[email] else "email: must be an e-mail address, or empty"
    assert refusal(RULES.email, email, "email") == told


def test_long_email_is_not_parsed() -> None:
    for email in ("a" * 10_000_000 + "@example.com", "a@" + "b" * 60 + ".example.com" * 20):
        assert refusal(RULES.email, email, "email") == "email: must have at most 254 characters"


def test_counts() -> None:
    sizes = [RULES.page_size(asked, "limit") for asked in (0, 1, 500, 501, 2**31 - 1)]
    assert sizes == [50, 1, 500, 500, 500]
    assert refusal(RULES.page_size, -1, "limit") == "limit: must not be negative"


@pytest.mark.parametrize("name", [each.name for each in fields(Limits)])
def test_limits_are_at_least_one(name: str) -> None:
    Limits(**{name: 1})
    with pytest.raises(ValueError, match=f"{name.replace('_', '-')} must be (at least|from) 1"):
        Limits(**{name: 0})
