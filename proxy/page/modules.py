"""One module of the page's script: what it imports, what it exports, and its code.

A module is read with a real grammar (tree-sitter's), so that comments are told from texts,
templates and regular expressions. The page's modules keep to a part of the language that can
be linked without looking into the code: named imports and exports of declarations, at the
top. Whatever else would need more than that is an error.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

import tree_sitter_javascript
from tree_sitter import Language, Node, Parser, Query, QueryCursor

from proxy.page.locals import BINDINGS, Statements, letters

_PLACES: Final = """
(comment) @comment
(private_property_identifier) @private
[(string_fragment) (escape_sequence) (regex_pattern)] @text
(import_statement) @import
(export_statement) @export
(program [
  (lexical_declaration (variable_declarator name: (_) @declared))
  (export_statement (lexical_declaration (variable_declarator name: (_) @declared)))
  (_ name: (_) @declared)
  (export_statement (_ name: (_) @declared))
])
(identifier) @name
[(shorthand_property_identifier) (shorthand_property_identifier_pattern)] @short
(variable_declaration) @var
(await_expression) @await
(for_in_statement "await") @await
(call_expression function: (import) arguments: (arguments (string))) @dynamic
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


# Gives a name another one; None: it stays.
_NewName = Callable[[Node], str | None]


class UnusablePage(ValueError):
    """The page cannot be prepared; the text says why, with file and line."""


@dataclass(frozen=True, slots=True)
class Import:
    """Names that a module takes from another one.

    Attributes:
        module: path of the other one, as it was written: ``./store.js``.
        names: the names.
        line: where it stands.
    """

    module: str
    names: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Module:
    """A module.

    Attributes:
        imports: what it imports, in order.
        exports: the names that it exports.
        declared: all names that it declares at the top.
        named: all names that it has anywhere, for whatever.
        statements: its statements.
    """

    imports: tuple[Import, ...]
    exports: frozenset[str]
    declared: frozenset[str]
    named: frozenset[str]
    statements: Statements
    _source: bytes
    _found: dict[str, list[Node]]

    def code(self, names: Mapping[str, str], texts: Mapping[bytes, bytes]) -> str:
        """What is left without comments, indentation, and the words of imports and exports.

        Args:
            names: names to be replaced wherever they stand, each by a new one that the module
                does not have.
            texts: texts to be replaced where they stand alone in quotes.
        """

        def new_name(node: Node) -> str | None:
            name = _text(node)
            return names.get(name) or self.statements.short_name(name, node.start_byte)

        return "".join(_kept(self._source, self._found, new_name, texts)).strip()


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
    exports = frozenset(_export_of(name, node) for node in _ordered(found.get("export", [])))
    declared = [each for node in found.get("declared", []) for each in _declared(name, node)]
    names = frozenset(_text(node) for kind in ("name", "short") for node in found.get(kind, []))
    imported = (each for taken in imports for each in taken.names)
    statements = Statements(tree.root_node, found, frozenset((*declared, *imported)))
    return Module(tuple(imports), exports, frozenset(declared), names, statements, source, found)


@cache
def _grammar() -> tuple[Parser, Query]:
    language = Language(tree_sitter_javascript.language())
    return Parser(language), Query(language, _PLACES + BINDINGS)


def _refuse_others(name: str, found: dict[str, list[Node]]) -> None:
    refused: dict[str, tuple[str, Callable[[Node], bool]]] = {
        "error": ("this is no JavaScript", lambda _: True),
        "dynamic": ("import() of a module is not supported: import at the top", lambda _: True),
        "meta": ("import.meta is not supported", lambda node: node.text == b"import.meta"),
        "await": ("await outside of a function is not supported", _is_outside),
        "var": ("var is not supported: use const or let", lambda _: True),
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
    named = clause.named_children[0].named_children if clause and kinds == ["named_imports"] else []
    specified = [each for each in named if each.type == "import_specifier"]
    if not specified or any(each.child_by_field_name("alias") for each in specified):
        raise UnusablePage(f"{name}:{_line(node)}: only import {{ names }} from … is supported")
    names = tuple(_text(each.child_by_field_name("name")) for each in specified)
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


def _declared(name: str, node: Node) -> Iterator[str]:
    """The names in what is declared: a name, or a pattern of names."""
    if node.type in ("identifier", "shorthand_property_identifier_pattern"):
        yield _text(node)
    elif node.type in ("array_pattern", "object_pattern", "rest_pattern"):
        for each in node.named_children:
            yield from _declared(name, each)
    elif node.type == "pair_pattern":
        yield from _declared(name, node.named_children[1])
    elif node.type != "comment":
        raise UnusablePage(f"{name}:{_line(node)}: at the top, only plain patterns are supported")


def _kept(
    source: bytes,
    found: dict[str, list[Node]],
    new_name: _NewName,
    texts: Mapping[bytes, bytes],
) -> Iterator[str]:
    """What is left of a module: texts as they are, and between them code without blanks."""
    code, end = b"", 0
    for start, stop, instead in sorted(_replaced(found, new_name)):
        if start < end:  # inside of the one before
            continue
        code += source[end:start]
        if instead is None:
            yield _without_blanks(code)
            text = source[start:stop]
            is_alone = source[start - 1 : start] == source[stop : stop + 1] in (b"'", b'"')
            yield (texts.get(text, text) if is_alone else text).decode()
            code = b""
        else:
            code += instead
        end = stop
    yield _without_blanks(code + source[end:])


def _replaced(
    found: dict[str, list[Node]], new_name: _NewName
) -> Iterator[tuple[int, int, bytes | None]]:
    """Pieces of the source, and what takes their places; None: it stays, as it is."""
    for node in found.get("text", []):
        yield node.start_byte, node.end_byte, None
    for node in found.get("comment", []):
        # A comment counts as the line's end that is in it.
        broken = node.start_point.row < node.end_point.row
        yield node.start_byte, node.end_byte, b"\n" if broken else b" "
    for node in found.get("import", []):
        yield node.start_byte, node.end_byte, b""
    yield from _shortened(found)
    for node in found.get("export", []):
        declared = node.child_by_field_name("declaration")
        if declared is not None:
            yield node.start_byte, declared.start_byte, b""
    for kind in ("name", "short"):
        for node in found.get(kind, []):
            new = new_name(node)
            if new is not None:
                # Of `{ name }`, the property keeps its name.
                text = new if kind == "name" else f"{_text(node)}:{new}"
                yield node.start_byte, node.end_byte, text.encode()


def _shortened(found: dict[str, list[Node]]) -> Iterator[tuple[int, int, bytes | None]]:
    """Private names, which nothing outside of a class can see, as `#a`, `#b` and so on."""
    nodes = _ordered(found.get("private", []))
    short: dict[bytes | None, bytes] = {}
    for node in nodes:
        new = short.setdefault(node.text, f"#{letters(len(short))}".encode())
        yield node.start_byte, node.end_byte, new


def _without_blanks(code: bytes) -> str:
    # Other line ends stay: statements may end there, and errors are found by lines.
    text = re.sub(r"[ \t]*\n\s*", "\n", code.decode())
    text = re.sub(r"(?<=[{([,])\n|\n(?=[])}])", "", text)
    text = re.sub(r"[ \t]+(?=[]{}()[,;:=<>&|?!*])|(?<=[]{}()[,;:=<>&|?!*])[ \t]+", "", text)
    # What is constant was seen to when it was written: the shorter word does the same.
    return re.sub(r"(?<![\w$#.])const(?=[ {[])", "let", text)


def _ordered(nodes: list[Node]) -> list[Node]:
    return sorted(nodes, key=lambda node: node.start_byte)


def _line(node: Node) -> int:
    return node.start_point.row + 1


def _text(node: Node | None) -> str:
    return (node.text or b"").decode() if node is not None else ""
