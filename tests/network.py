"""Downloads of tests from a package index: skipped without one, but not in CI."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest


def npm_packages(sources: Path, request: pytest.FixtureRequest, purpose: str) -> Path:
    """Installs what a lock file of npm names, unless a run before has.

    Args:
        sources: the folder of package.json and package-lock.json, and of programs that use them.
        request: of a fixture; pytest's cache, unless it is off, keeps what was installed.
        purpose: what cannot be tested without it.

    Returns:
        A copy of the folder, with its packages.
    """
    if not (shutil.which("node") and shutil.which("npm")):
        missing(f"node and npm are not installed: {purpose} was not tried")
    packages = (sources / "package-lock.json").read_bytes()
    name = f"node-{hashlib.sha256(packages).hexdigest()[:16]}"
    # `-p no:cacheprovider` leaves no attribute.
    cache: pytest.Cache | None = getattr(request.config, "cache", None)
    folder = cache.mkdir(name) if cache else _temporary(request, name)
    shutil.copytree(sources, folder, dirs_exist_ok=True)
    # Written by npm when it is done.
    if not (folder / "node_modules" / ".package-lock.json").exists():
        npm_install(folder)
    return folder


def _temporary(request: pytest.FixtureRequest, name: str) -> Path:
    factory: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
    return factory.mktemp(name)


def npm_install(folder: Path) -> None:
    """Installs what the lock file of a folder names."""
    fetch("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=folder)


def fetch(*command: str, cwd: Path) -> None:
    """Runs an installer; its failure skips the test, or fails it in CI.

    Args:
        command: the installer with its arguments.
        cwd: its working directory.
    """
    done = subprocess.run(  # noqa: S603 - no input of others
        command, cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        missing(f"{' '.join(command[:3])} failed, perhaps without a network: {done.stderr[-2000:]}")


def missing(why: str) -> None:
    """Skips a test that needs something missing here; fails it in CI."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)
