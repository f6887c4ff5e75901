"""Short names for what is local to a function of the page's script.

Parameters and variables within a statement at the top of a module, or within a member of a class
there, are named `a`, `b` and so on; the same name alike wherever it stands in it, so that each
means what it meant. Functions and classes within a statement keep their names, and methods and
properties theirs.

A name that stands anywhere in the statement without being bound there is from outside: it stays.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Final

from tree_sitter import Node

BINDINGS: Final = """
(program (class_declaration body: (_) @body))
(program (export_statement (class_declaration body: (_) @body)))
[
  (arrow_function) (function_declaration) (function_expression) (generator_function)
  (generator_function_declaration) (method_definition) (statement_block) (for_statement)
  (for_in_statement) (catch_clause) (switch_body) (class_static_block)
] @scope
(formal_parameters (identifier) @bound)
(arrow_function parameter: (identifier) @bound)
(variable_declarator name: (identifier) @bound)
(rest_pattern (identifier) @bound)
(array_pattern (identifier) @bound)
(pair_pattern value: (identifier) @bound)
(assignment_pattern left: (identifier) @bound)
(catch_clause parameter: (identifier) @bound)
(for_in_statement left: (identifier) @bound)
(shorthand_property_identifier_pattern) @bound
(variable_declarator name: (identifier) @kept value: [(arrow_function) (function_expression)])
(function_declaration name: (identifier) @kept)
(generator_function_declaration name: (identifier) @kept)
(function_expression name: (identifier) @kept)
(class_declaration name: (identifier) @kept)
(class name: (identifier) @kept)
"""
"""Part of a query: what binds a name and where that holds, and what keeps its own."""

# Of two letters, and no names.
_WORDS: Final = frozenset(("as", "do", "if", "in", "is", "of"))

_Range = tuple[int, int]


class Statements:
    """The statements at the top of a module, and the members of its classes.

    Args:
        top: the module.
        found: its nodes, by what they are.
        declared: names that it declares or imports at the top.
    """

    def __init__(
        self, top: Node, found: Mapping[str, list[Node]], declared: frozenset[str]
    ) -> None:
        members = [each for body in found.get("body", ()) for each in body.children]
        self._starts = sorted({each.start_byte for each in (*top.children, *members)})
        places: list[dict[str, list[int]]] = [{} for _ in self._starts]
        for kind in ("name", "short"):
            for node in found.get(kind, ()):
                start = node.start_byte
                places[self._index(start)].setdefault(_text(node), []).append(start)
        scopes: list[dict[str, list[_Range]]] = [{} for _ in self._starts]
        for name, start, scope in _bindings(found):
            scopes[self._index(start)].setdefault(name, []).append(scope)
        kept = [set(declared) for _ in self._starts]
        for node in found.get("kept", ()):
            kept[self._index(node.start_byte)].add(_text(node))
        self._short = [_short_names(*each) for each in zip(places, scopes, kept, strict=True)]

    def short_name(self, name: str, start: int) -> str | None:
        """The short name of an identifier.

        Args:
            name: its own.
            start: where it stands, in bytes.

        Returns:
            None: it keeps its own.
        """
        return self._short[self._index(start)].get(name)

    def _index(self, start: int) -> int:
        return bisect_right(self._starts, start) - 1


def _bindings(found: Mapping[str, list[Node]]) -> Iterator[tuple[str, int, _Range]]:
    """Names, where each is bound, and the innermost scope there."""
    scopes = sorted((each.start_byte, -each.end_byte) for each in found.get("scope", ()))
    waiting = iter(scopes)
    ahead = next(waiting, None)
    around: list[_Range] = []
    for node in sorted(found.get("bound", ()), key=lambda node: node.start_byte):
        start = node.start_byte
        while ahead is not None and ahead[0] <= start:
            while around and around[-1][1] <= ahead[0]:
                around.pop()
            around.append((ahead[0], -ahead[1]))
            ahead = next(waiting, None)
        while around and around[-1][1] <= start:
            around.pop()
        if around:
            yield _text(node), start, around[-1]


def _short_names(
    places: Mapping[str, list[int]], scopes: Mapping[str, list[_Range]], kept: set[str]
) -> dict[str, str]:
    renamed = [
        name
        for name, ranges in scopes.items()
        if name not in kept
        and all(any(start <= place < end for start, end in ranges) for place in places[name])
    ]
    taken = places.keys() - set(renamed) | _WORDS
    fresh = (name for number in count() if (name := letters(number)) not in taken)
    return dict(zip(renamed, fresh, strict=False))


def letters(number: int) -> str:
    """`a`, `b` and so on; after `z` comes `aa`."""
    text = ""
    while number >= 0:
        number, letter = divmod(number, 26)
        text = chr(ord("a") + letter) + text
        number -= 1
    return text


def _text(node: Node) -> str:
    return (node.text or b"").decode()
