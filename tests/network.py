"""Downloads of tests from a package index: skipped without one, but not in CI."""

import os
import subprocess
from pathlib import Path

import pytest


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
