"""Helpers to generate Python source."""

import json
from collections.abc import Iterable

Lines = list[str]


def quote(text: str) -> str:
    """Returns a string literal."""
    return json.dumps(text, ensure_ascii=False)


def block(head: str, body: Iterable[str]) -> Lines:
    """Returns a compound statement: its head, and its indented body."""
    return [head, *indent(body)]


def indent(lines: Iterable[str]) -> Lines:
    """Returns lines indented by one level."""
    return [f"    {line}" if line else "" for line in lines]


def chain(branches: Iterable[tuple[str, Lines]], otherwise: Lines) -> Lines:
    """Returns an `if` with its `elif`s and its `else`; without branches, the body of the `else`."""
    out: Lines = []
    for condition, body in branches:
        out += block(f"{'elif' if out else 'if'} {condition}:", body)
    if not otherwise:
        return out
    return out + block("else:", otherwise) if out else otherwise


def call(function: str, arguments: Iterable[str]) -> Lines:
    """Returns a call, or another bracketed expression, with one argument on each line."""
    return [f"{function}(", *indent(f"{argument}," for argument in arguments), ")"]
