"""The map of the web client names its modules, and no other."""

from __future__ import annotations

from tests.docs.markdown import ROOT, code, section

SCRIPTS = ROOT / "proxy/static/js"


def test_each_module_of_the_page_is_on_the_map() -> None:
    rows = list(section(ROOT / "docs/architecture.md", "The house").rows())
    start = next(nth for nth, row in enumerate(rows) if row[0] == "`main`")
    named = {name for row in rows[start:] for name in code(row[0])}
    assert named == {path.stem for path in SCRIPTS.glob("*.js")} | {"view/"}
