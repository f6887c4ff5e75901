"""One module of the page's script: what it imports, what it exports, and its code.

A module is read with a real grammar (tree-sitter's), so that comments are told from texts,
templates and regular expressions. The page's modules keep to a part of the language that can
be linked without looking into the code: named imports and exports of declarations, at the
top. Whatever else would need more than that is an error.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

import tree_sitter_javascript
from tree_sitter import Language, Node, Parser, Query, QueryCursor

_STATEMENTS: Final = """
(comment) @comment
(private_property_identifier) @private
(template_string) @text
(string) @text
(import_statement) @import
(export_statement) @export
(await_expression) @await
(for_in_statement "await") @await
(import) @dynamic
(meta_property) @meta
(ERROR) @error
(MISSING) @error
"""
_DECLARATIONS: Final = {
    "class_declaration",
    "function_declaration",
    "generator_function_declaration",
}
_FUNCTIONS: Final = {
    *_DECLARATIONS,
    "arrow_function",
    "function_expression",
    "generator_function",
    "method_definition",
}


class UnusablePage(ValueError):
    """The page cannot be prepared; the text says why, with file and line."""


@dataclass(frozen=True, slots=True)
class Import:
    """Names that a module takes from another one.

    Attributes:
        module: path of the other one, as it was written: ``./store.js``.
        names: the names there, by those here.
        line: where it stands.
    """

    module: str
    names: dict[str, str]
    line: int


@dataclass(frozen=True, slots=True)
class Module:
    """A module.

    Attributes:
        imports: what it imports, in order.
        exports: the names that it exports, in order.
        code: the rest of it, without comments and without the words of imports and exports, and
            with short names for what is private.
    """

    imports: tuple[Import, ...]
    exports: tuple[str, ...]
    code: str


def read_module(name: str, source: bytes) -> Module:
    """Reads a module.

    Args:
        name: its path, for errors.
        source: its text, in UTF-8.

    Raises:
        UnusablePage: it is no JavaScript, or not of the kind that can be linked.
    """
    parser, query = _grammar()
    tree = parser.parse(source)
    found = QueryCursor(query).captures(tree.root_node)
    _refuse_others(name, found)
    imports = [_import_of(name, node) for node in _ordered(found.get("import", []))]
    exports = [_export_of(name, node) for node in _ordered(found.get("export", []))]
    code = "".join(_kept(source, found)).strip()
    return Module(tuple(imports), tuple(exports), code)


@cache
def _grammar() -> tuple[Parser, Query]:
    language = Language(tree_sitter_javascript.language())
    return Parser(language), Query(language, _STATEMENTS)


def _refuse_others(name: str, found: dict[str, list[Node]]) -> None:
    refused: dict[str, tuple[str, Callable[[Node], bool]]] = {
        "error": ("this is no JavaScript", lambda _: True),
        "dynamic": ("import() is not supported: import at the top", lambda _: True),
        "meta": ("import.meta is not supported", lambda node: node.text == b"import.meta"),
        "await": ("await outside of a function is not supported", _is_outside),
        "import": ("an import must be at the top", lambda node: not _is_at_top(node)),
        "export": ("an export must be at the top", lambda node: not _is_at_top(node)),
    }
    for kind, (why, is_refused) in refused.items():
        for node in _ordered(found.get(kind, [])):
            if is_refused(node):
                raise UnusablePage(f"{name}:{_line(node)}: {why}")


def _is_outside(node: Node) -> bool:
    above = node.parent
    while above is not None and above.type not in _FUNCTIONS:
        above = above.parent
    return above is None


def _is_at_top(node: Node) -> bool:
    return node.parent is not None and node.parent.type == "program"


def _import_of(name: str, node: Node) -> Import:
    clause = next((part for part in node.named_children if part.type == "import_clause"), None)
    kinds = [part.type for part in clause.named_children] if clause else []
    if clause is None or kinds != ["named_imports"]:
        raise UnusablePage(f"{name}:{_line(node)}: only import {{ names }} from … is supported")
    names = {}
    for each in clause.named_children[0].named_children:
        if each.type == "import_specifier":
            there = _text(each.child_by_field_name("name"))
            names[_text(each.child_by_field_name("alias")) or there] = there
    return Import(_text(node.child_by_field_name("source"))[1:-1], names, _line(node))


def _export_of(name: str, node: Node) -> str:
    declared = node.child_by_field_name("declaration")
    is_default = any(part.type == "default" for part in node.children)
    if declared is not None and not is_default:
        if declared.type in _DECLARATIONS:
            return _text(declared.child_by_field_name("name"))
        # What a `let` holds when it is imported is not what it holds later.
        if declared.type == "lexical_declaration" and declared.children[0].type == "const":
            declarators = [part for part in declared.children if part.type == "variable_declarator"]
            named = [part.child_by_field_name("name") for part in declarators]
            if len(named) == 1 and named[0] is not None and named[0].type == "identifier":
                return _text(named[0])
    why = "only export function, class or const NAME is supported"
    raise UnusablePage(f"{name}:{_line(node)}: {why}")


def _kept(source: bytes, found: dict[str, list[Node]]) -> Iterator[str]:
    """What is left of a module: texts as they are, and between them code without indentation."""
    code, end = b"", 0
    for start, stop, instead in sorted(_replaced(source, found)):
        if start < end:  # inside of the one before
            continue
        code += source[end:start]
        if instead is None:
            yield _without_indentation(code)
            yield source[start:stop].decode()
            code = b""
        else:
            code += instead
        end = stop
    yield _without_indentation(code + source[end:])


def _replaced(
    source: bytes, found: dict[str, list[Node]]
) -> Iterator[tuple[int, int, bytes | None]]:
    """Pieces of the source, and what takes their places; None: it stays, as it is."""
    for node in found.get("text", []):
        if b"\n" in source[node.start_byte : node.end_byte]:
            yield node.start_byte, node.end_byte, None
    for node in found.get("comment", []):
        # A comment counts as the line's end that is in it.
        broken = b"\n" in source[node.start_byte : node.end_byte]
        yield node.start_byte, node.end_byte, b"\n" if broken else b" "
    for node in found.get("import", []):
        yield node.start_byte, node.end_byte, b""
    yield from _shortened(found)
    for node in found.get("export", []):
        declared = node.child_by_field_name("declaration")
        if declared is not None:
            yield node.start_byte, declared.start_byte, b""


def _shortened(found: dict[str, list[Node]]) -> Iterator[tuple[int, int, bytes | None]]:
    """Private names, which nothing outside of a class can see, as `#a`, `#b` and so on."""
    nodes = _ordered(found.get("private", []))
    # Texts of several lines stay as they are, with the names that are in them.
    texts = [node for node in found.get("text", []) if b"\n" in (node.text or b"")]
    if any(_is_in(node, text) for node in nodes for text in texts):
        return
    short: dict[bytes | None, bytes] = {}
    for node in nodes:
        new = short.setdefault(node.text, b"#" + _letters(len(short)))
        yield node.start_byte, node.end_byte, new


def _is_in(node: Node, other: Node) -> bool:
    return other.start_byte <= node.start_byte and node.end_byte <= other.end_byte


def _letters(number: int) -> bytes:
    letters = b""
    while True:
        number, letter = divmod(number, 26)
        letters += bytes([ord("a") + letter])
        if number == 0:
            return letters
        number -= 1


def _without_indentation(code: bytes) -> str:
    return re.sub(r"[ \t]*\n\s*", "\n", code.decode())


def _ordered(nodes: list[Node]) -> list[Node]:
    return sorted(nodes, key=lambda node: node.start_byte)


def _line(node: Node) -> int:
    return node.start_point.row + 1


def _text(node: Node | None) -> str:
    return (node.text or b"").decode() if node is not None else ""
