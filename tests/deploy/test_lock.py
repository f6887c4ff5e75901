"""The lock file, as far as it can be checked offline; `nox -s lock -- --check` does the rest."""

from __future__ import annotations

import re
import tomllib
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.nginx import DEPLOY

ROOT: Final = DEPLOY.parent
LOCK: Final = (ROOT / "requirements.lock").read_text(encoding="utf-8")

_ENTRY: Final = re.compile(
    r"^([a-z0-9-]+)==(\S+)(?: ; [^\\]+)? \\\n((?:    --hash=.*\n)+)", re.MULTILINE
)


def test_each_line_is_a_pin_with_hashes() -> None:
    rest = re.sub(r"^ +#.*\n", "", _ENTRY.sub("", LOCK), flags=re.MULTILINE)
    assert rest == ""
    for _, _, hashes in _ENTRY.findall(LOCK):
        for line in hashes.splitlines():
            assert re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line)


def test_each_dependency_is_pinned_to_what_it_may_be() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    pinned = {name: version for name, version, _ in _ENTRY.findall(LOCK)}
    for line in project["project"]["dependencies"]:
        requirement = Requirement(line)
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version, prereleases=True), line
