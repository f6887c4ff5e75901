"""The lock files, as far as checkable offline; `nox -s lock -- --check` does the rest."""

import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.nginx import DEPLOY

ROOT: Final = DEPLOY.parent
RUNTIME: Final = ROOT / "requirements.lock"
TRACING: Final = DEPLOY / "tracing.lock"
BUILD: Final = DEPLOY / "build.lock"
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

EXTRAS: Final[dict[str, list[str]]] = PROJECT["project"]["optional-dependencies"]
# Of every engine; only what exports traces is left out.
DEPENDENCIES: Final[list[str]] = [
    *PROJECT["project"]["dependencies"],
    *(line for name, lines in EXTRAS.items() if name != "tracing" for line in lines),
]
WANTED: Final[dict[Path, list[str]]] = {
    RUNTIME: DEPENDENCIES,
    TRACING: [*DEPENDENCIES, *EXTRAS["tracing"]],
    BUILD: PROJECT["build-system"]["requires"],
}

_ENTRY: Final = re.compile(
    r"^([a-z0-9-]+)==(\S+)(?: ; [^\\]+)? \\\n((?:    --hash=.*\n)+)", re.MULTILINE
)


def entries(lock: Path) -> list[tuple[str, str, str]]:
    """Names, versions and hashes of a lock file."""
    return _ENTRY.findall(lock.read_text("utf-8"))


def pins(lock: Path) -> dict[str, str]:
    return {name: version for name, version, _ in entries(lock)}


@pytest.mark.parametrize("lock", WANTED, ids=lambda lock: lock.name)
def test_lock_lines_are_pins_with_hashes(lock: Path) -> None:
    rest = _ENTRY.sub("", lock.read_text("utf-8"))
    assert re.sub(r"^ +#.*\n", "", rest, flags=re.MULTILINE) == ""
    for _, _, hashes in entries(lock):
        for line in hashes.splitlines():
            assert re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line)


@pytest.mark.parametrize("lock", WANTED, ids=lambda lock: lock.name)
def test_lock_pins_allowed_versions(lock: Path) -> None:
    pinned = pins(lock)
    for line in WANTED[lock]:
        requirement = Requirement(line)
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version, prereleases=True), line


def test_lock_with_traces_only_adds() -> None:
    assert pins(TRACING).items() > pins(RUNTIME).items()


def test_build_lock_matches_build_requirements() -> None:
    assert PROJECT["dependency-groups"]["build"] == PROJECT["build-system"]["requires"]
