"""Runs the tests of the web client's modules, which need no browser, in Node."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_ADVICE = "The modules of the web client are tested in Node (20 or later), and none was found."


def test_web_modules_pass_in_node() -> None:
    node = shutil.which("node")
    if node is None and os.environ.get("CI"):
        pytest.fail(_ADVICE)
    if node is None:
        pytest.skip(_ADVICE)
    files = [str(path) for path in sorted(Path(__file__).parent.glob("*.test.mjs"))]
    assert files
    command = [node, "--test", "--test-reporter=spec", *files]
    run = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert run.returncode == 0, run.stdout + run.stderr
