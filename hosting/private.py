"""Files and folders with access for their owner only, whatever the umask is."""

import os
from pathlib import Path
from typing import Final

_FILE: Final = 0o600
_FOLDER: Final = 0o700


def make_folder(path: Path) -> None:
    """Makes a folder and its missing parents; an existing one stays as it is.

    Raises:
        OSError: it cannot be made.
    """
    for folder in (*reversed(path.parents), path):
        if not folder.is_dir():
            # The mode of `parents=True` is only that of the last one.
            folder.mkdir(_FOLDER, exist_ok=True)


def open_file(path: str | Path, flags: int) -> int:
    """Opens a file as `os.open` does; one that is made by it is its owner's.

    Raises:
        OSError: it cannot be opened.
    """
    return os.open(path, flags, _FILE)


def others_may_read(path: str | Path) -> bool:
    """Returns True if everybody on this machine may read an existing file.

    Raises:
        OSError: it does not exist.
    """
    return bool(Path(path).stat().st_mode & 0o004)
