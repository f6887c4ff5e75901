"""The map in the architecture page names the modules and files that there are."""

import pytest

from tests.docs.markdown import ROOT, code, section

PAGE = ROOT / "docs/architecture.md"
MODULES = section(PAGE, "The modules")


def modules_by_folder() -> dict[str, set[str]]:
    """The modules of each folder, which stands in the first of its rows."""
    found: dict[str, set[str]] = {}
    folder = ""
    for cell, modules, _ in MODULES.rows():
        if cell:
            [folder] = code(cell)
        found.setdefault(folder, set()).update(code(modules))
    return found


ON_MAP = modules_by_folder()


def test_map_names_each_folder() -> None:
    folders = {
        f"{path.parent.relative_to(ROOT)}/"
        for package in ("chat", "hosting", "proxy")
        for path in (ROOT / package).rglob("__init__.py")
    }
    assert set(ON_MAP) == folders - {"chat/storage/postgres/", "chat/storage/sqlite/"}


@pytest.mark.parametrize("folder", ON_MAP)
def test_map_names_each_module(folder: str) -> None:
    files = {path.stem for path in (ROOT / folder).glob("*.py")} - {"__init__", "__main__"}
    assert {name for name in ON_MAP[folder] if not name.endswith("/")} == files


def test_map_names_each_script() -> None:
    rows = section(PAGE, "The web client").rows()
    folder = ROOT / "proxy/static/js"
    files = [path.relative_to(folder) for path in folder.rglob("*.js")]
    scripts = {path.with_suffix("").as_posix() for path in files}
    assert {name for row in rows for name in code(row[0])} == scripts | {"view/"}


def test_reading_path_gives_lengths() -> None:
    for _, cell, lines, _ in section(PAGE, "Where to begin to read").rows():
        [name] = code(cell)
        length = len((ROOT / name).read_text().splitlines())
        # As rough as a reader needs it: not each change of a file is one of the page.
        assert abs(length - int(lines)) <= length / 10, (name, length)
