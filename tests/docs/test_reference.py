"""The generated tables of the documentation are up to date."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from docs import reference


def test_tables_are_up_to_date() -> None:
    result = CliRunner().invoke(reference.main, ["--check"])
    assert (result.output, result.exit_code) == ("", 0)


def test_stale_table_is_named_then_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "DOCS", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("Above.\n\n<!-- table: chat options -->\nold\n<!-- end -->\n\nBelow.\n")
    result = CliRunner().invoke(reference.main, ["--check"])
    assert result.exit_code == 1
    assert "page.md: a table is stale" in result.output
    assert CliRunner().invoke(reference.main).exit_code == 0
    text = page.read_text()
    assert text.startswith("Above.")
    assert text.endswith("Below.\n")
    assert "| `--id-length` | `CHAT_ID_LENGTH` | `64` |" in text
    assert "old" not in text.split()
    assert CliRunner().invoke(reference.main, ["--check"]).exit_code == 0
