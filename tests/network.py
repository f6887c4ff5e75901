"""What tests fetch from an index of packages: without one they are skipped, but not in CI."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest


def fetch(*command: str, cwd: Path) -> None:
    """Runs an installer; if it fails, the test is skipped, and fails in CI.

    Args:
        command: the installer with its arguments.
        cwd: the folder to run it in.
    """
    done = subprocess.run(  # noqa: S603 - no input of others
        command, cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        missing(f"{' '.join(command[:3])} failed, perhaps without a network: {done.stderr[-2000:]}")


def missing(why: str) -> None:
    """Skips a test for what this machine does not have; in CI that is a failure."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)
