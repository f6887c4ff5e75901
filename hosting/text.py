"""Checks that a string is Unicode text.

Python's strings may hold surrogates, which stand for no character: an environment and a
command line bring bytes in as such (PEP 383), and JSON half of an escaped pair. They
cannot be encoded, and so neither stored nor sent: they are refused at the entrance.
"""


def is_text(value: str) -> bool:
    """Returns True for a sequence of Unicode scalar values (D76 in the standard)."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_setting(name: str, *values: str) -> None:
    """Checks the text of a setting, which may be that of a file's name.

    Args:
        name: what it is called.
        values: its texts.

    Raises:
        ValueError: one is no text, or has a NUL; it begins with the name.
    """
    for value in values:
        if not is_text(value):
            raise ValueError(f"{name} must be Unicode text, in UTF-8")
        if "\0" in value:
            raise ValueError(f"{name} must not contain NUL")


def brief(text: str, *ends: str) -> str:
    """The beginning of a text in Markdown, without backquotes and with a full stop.

    Args:
        text: the text.
        ends: what ends the beginning, such as ``". "``.
    """
    plain = text.replace("`", "")
    for end in ends:
        plain = plain.partition(end)[0]
    return plain.rstrip(".:;") + "."
