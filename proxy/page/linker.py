"""Links the modules of the page into one script.

The code of the modules stands one behind the other, each after those that it imports, so that
what they declare at the top is known to those that come next. What they declare gets short
names, which no module has for anything.

That does the same as the modules do as long as none imports itself by way of others, which
is an error.
"""

import posixpath
from collections.abc import Callable, Mapping
from itertools import count
from types import MappingProxyType

from proxy.page.locals import letters
from proxy.page.modules import Import, Module, UnusablePage, read_module


def link(
    sources: Mapping[str, bytes],
    first: str,
    *,
    texts: Mapping[bytes, bytes] = MappingProxyType({}),
    read: Callable[[str, bytes], Module] = read_module,
) -> str:
    """Links modules.

    Args:
        sources: the modules in UTF-8, by path.
        first: path of the one that starts the page. Those that it does not need are left out.
        texts: texts to be replaced where they stand alone in quotes.
        read: reads a module, given its path and text.

    Raises:
        UnusablePage: a module is missing, is no JavaScript, is not of the kind that can be
            linked, imports what is not exported, or imports itself by way of others.
    """
    linking = _Linking(sources, read)
    linking.add(first, ())
    return linking.script(texts)


class _Linking:
    def __init__(self, sources: Mapping[str, bytes], read: Callable[[str, bytes], Module]) -> None:
        self.read = read
        self.sources = sources
        # By path, each after those that it imports.
        self.modules: dict[str, Module] = {}
        # Where each module has its imported names from.
        self.origins: dict[str, dict[str, str]] = {}

    def add(self, path: str, above: tuple[str, ...]) -> None:
        """Adds a module, after those that it imports.

        Args:
            path: its path.
            above: the modules on the way to it.
        """
        module = self.read(path, self.sources[path])
        origins = self.origins[path] = {}
        for wanted in module.imports:
            there = self.resolve(path, wanted, (*above, path))
            if there not in self.modules:
                self.add(there, (*above, path))
            for name in wanted.names:
                if name not in self.modules[there].exports:
                    why = f"{wanted.module!r} does not export {name!r}"
                    raise UnusablePage(f"{path}:{wanted.line}: {why}")
                origins[name] = there
        self.modules[path] = module

    def resolve(self, path: str, wanted: Import, above: tuple[str, ...]) -> str:
        place = f"{path}:{wanted.line}"
        there = posixpath.normpath(posixpath.join(posixpath.dirname(path), wanted.module))
        if not wanted.module.startswith(("./", "../")) or there not in self.sources:
            raise UnusablePage(f"{place}: there is no module {wanted.module!r}")
        if there in above:
            circle = " -> ".join([*above[above.index(there) :], there])
            raise UnusablePage(f"{place}: modules import each other in a circle: {circle}")
        return there

    def script(self, texts: Mapping[bytes, bytes]) -> str:
        new = self.new_names()
        pieces = []
        for path, module in self.modules.items():
            names = dict(new[path])
            for name, there in self.origins[path].items():
                if name in new[there]:
                    names[name] = new[there][name]
            pieces.append(module.code(names, texts))
        # A statement need not end where its module does.
        return "\n;\n".join(pieces)

    def new_names(self) -> dict[str, dict[str, str]]:
        """Names for what modules declare at the top, which no module has for anything."""
        everywhere = frozenset[str]().union(*(module.named for module in self.modules.values()))
        fresh = (name for number in count() if (name := f"${letters(number)}") not in everywhere)
        return {
            path: {name: next(fresh) for name in sorted(module.declared)}
            for path, module in self.modules.items()
        }
