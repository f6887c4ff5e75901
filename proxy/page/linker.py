"""Links the modules of the page into one script.

Each module becomes a function that is called once and returns what the module exports, after
those that it imports. Names of functions and classes stay, so that a stack trace can be read.
That does the same as the modules do as long as none imports itself by way of others, which
is an error.
"""

import posixpath
from collections.abc import Mapping

from proxy.page.modules import Import, Module, UnusablePage, read_module


def link(sources: Mapping[str, bytes], first: str) -> str:
    """Links modules.

    Args:
        sources: the modules in UTF-8, by path.
        first: path of the one that starts the page. Those that it does not need are left out.

    Raises:
        UnusablePage: a module is missing, is no JavaScript, is not of the kind that can be
            linked, imports what is not exported, or imports itself by way of others.
    """
    linked: dict[str, _Linked] = {}
    _add(sources, first, linked, ())
    return "".join(each.text for each in linked.values())


class _Linked:
    def __init__(self, variable: str, module: Module, text: str) -> None:
        self.variable = variable
        self.module = module
        self.text = text


def _add(
    sources: Mapping[str, bytes], name: str, linked: dict[str, _Linked], above: tuple[str, ...]
) -> None:
    module = read_module(name, sources[name])
    taken = []
    for each in module.imports:
        there = _resolve(sources, name, each, (*above, name))
        if there not in linked:
            _add(sources, there, linked, (*above, name))
        taken.append(_take(name, each, linked[there]))
    variable = f"$module{len(linked) + 1}"
    linked[name] = _Linked(variable, module, _wrapped(variable, module, taken))


def _resolve(
    sources: Mapping[str, bytes], name: str, wanted: Import, above: tuple[str, ...]
) -> str:
    place = f"{name}:{wanted.line}"
    there = posixpath.normpath(posixpath.join(posixpath.dirname(name), wanted.module))
    if not wanted.module.startswith(("./", "../")) or there not in sources:
        raise UnusablePage(f"{place}: there is no module {wanted.module!r}")
    if there in above:
        circle = " -> ".join([*above[above.index(there) :], there])
        raise UnusablePage(f"{place}: modules import each other in a circle: {circle}")
    return there


def _take(name: str, wanted: Import, there: _Linked) -> str:
    for exported in wanted.names.values():
        if exported not in there.module.exports:
            why = f"{wanted.module!r} does not export {exported!r}"
            raise UnusablePage(f"{name}:{wanted.line}: {why}")
    names = ", ".join(
        here if here == exported else f"{exported}: {here}"
        for here, exported in wanted.names.items()
    )
    return f"const {{ {names} }} = {there.variable};\n"


def _wrapped(variable: str, module: Module, taken: list[str]) -> str:
    exported = ", ".join(module.exports)
    returned = f"return {{ {exported} }};\n" if exported else ""
    return f"const {variable} = (() => {{\n{''.join(taken)}{module.code}\n{returned}}})();\n"
