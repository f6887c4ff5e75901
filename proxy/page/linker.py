"""Links the modules of the page into one script.

The code of the modules stands one behind the other, each after those that it imports, so that
what they declare at the top is known to those that come next. A name that another module has
for something else gets a number. All other names stay, so that a stack trace can be read.

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
    linking = _Linking(sources)
    linking.add(first, ())
    return linking.script()


class _Linking:
    def __init__(self, sources: Mapping[str, bytes]) -> None:
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
        module = read_module(path, self.sources[path])
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

    def script(self) -> str:
        new = self.new_names()
        pieces = []
        for path, module in self.modules.items():
            names = dict(new[path])
            for name, there in self.origins[path].items():
                if name in new[there]:
                    names[name] = new[there][name]
            pieces.append(module.code(names))
        # A statement need not end where its module does.
        return "\n;\n".join(pieces)

    def new_names(self) -> dict[str, dict[str, str]]:
        """The names at the top of each module that mean something else in another one."""
        everywhere = frozenset[str]().union(*(module.named for module in self.modules.values()))
        new: dict[str, dict[str, str]] = {}
        for number, (path, module) in enumerate(self.modules.items(), 1):
            new[path] = {}
            for name in sorted(module.declared):
                if any(self.is_other(name, path, user) for user in self.modules if user != path):
                    fresh = f"{name}${number}"
                    while fresh in everywhere:
                        fresh += "$"
                    new[path][name] = fresh
        return new

    def is_other(self, name: str, path: str, user: str) -> bool:
        """Whether a module has a name for something else than what another one declares."""
        return name in self.modules[user].named and self.origins[user].get(name) != path
