"""The database path of these tests, and the announcements of its store."""

from pathlib import Path

import pytest

from gen.chat import ChatMessage


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


@pytest.fixture
def announced() -> list[ChatMessage]:
    return []
