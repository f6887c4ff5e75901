"""The page as browsers get it: its own, within its budget, and pages that cannot be prepared."""

import gzip
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import brotli
import pytest

from proxy.page.modules import UnusablePage
from proxy.page.prepared import prepare
from proxy.page.source import STATIC, PageSource

# A first visit's. Browsers take Brotli over TLS and from the same machine, and else gzip.
MOST_BYTES = {"br": 60 * 1024, "gzip": 70 * 1024}

FILES = {
    "index.html": """<!doctype html>
    <!-- why --><link rel="stylesheet" href="static/look.css">
    <link rel="stylesheet" href="static/more.css">
    <link rel="manifest" href="static/app.webmanifest">
    <script type="module" src="static/js/main.js"></script>""",
    "look.css": """/* why */
    p::before { content: "/* this stays: , */"; }""",
    "more.css": "p > a,\nb :hover {\n  color: red;\n}\n/* why */\n",
    "app.webmanifest": '{"name": "Chat", "icons": [{"src": "icon.svg"}]}',
    "icon.svg": "<svg/>",
    "js/main.js": f"import {{ one }} from './one.js';\nconsole.log({'one, ' * 99});",
    "js/one.js": "export const one = 1;",
    "sw.js": "// why\naddEventListener('install', () => {});",
}


def files(**changed: str) -> dict[str, bytes]:
    return {name: text.encode() for name, text in (FILES | changed).items()}


def test_own_page_is_within_its_budget() -> None:
    """What a browser fetches of it: pictures for home screens are not among it."""
    page = PageSource().page
    assert set(page.documents) == {"en", "fr"}
    for language, document in page.documents.items():
        named = re.findall(r'\b(?:href|src)="static/([^"]+)"', document.body.decode())
        parts = {name: page.parts[name] for name in named if not name.endswith(".png")}
        visited = {"index.html": document, "sw.js": page.worker, **parts}
        for encoding, most in MOST_BYTES.items():
            sizes = {
                name: len(each.packed.get(encoding, each.body)) for name, each in visited.items()
            }
            assert sum(sizes.values()) <= most, (language, sizes)


def test_own_document_names_parts_alone() -> None:
    page = PageSource().page
    named = {
        name
        for document in page.documents.values()
        for name in re.findall(r'="static/([^"]+)"', document.body.decode())
    }
    assert named
    assert named <= set(page.parts)
    # What is written must work without being prepared, too.
    written = (STATIC / "index.html").read_text()
    for name in re.findall(r'="static/([^"]+)"', written):
        assert (STATIC / name).is_file()


def test_addresses_tell_the_content() -> None:
    page = prepare(files())
    assert {re.sub("-[0-9a-f]{16}", "", name) for name in page.parts} == {
        "main.js", "app.webmanifest", "icon.svg",
    }  # fmt: skip
    for name, part in page.parts.items():
        assert sha256(part.body).hexdigest()[:16] in name
        for encoding, packed in part.packed.items():
            assert len(packed) < len(part.body)
            unpack = {"br": brotli.decompress, "gzip": gzip.decompress}[encoding]
            assert unpack(packed) == part.body
    [icon] = [name for name in page.parts if name.startswith("icon")]
    [manifest] = [part for name, part in page.parts.items() if name.startswith("app")]
    assert f'"src":"{icon}"'.encode() in manifest.body
    changed = prepare(files(**{"js/one.js": "export const one = 2;"}))
    assert set(page.parts) & set(changed.parts) == set(page.parts) - {
        name for name in page.parts if name.startswith("main")
    }
    assert changed.documents[""].mark != page.documents[""].mark


def test_style_is_in_the_document() -> None:
    page = prepare(files())
    document = page.documents[""].body.decode()
    [style] = re.findall(r"<style>(.*?)</style>", document, re.DOTALL)
    assert style == 'p::before{content:"/* this stays: , */"}p > a,b :hover{color:red}'
    hashed = b64encode(sha256(style.encode()).digest()).decode()
    assert page.style_hash == f"'sha256-{hashed}'"
    assert "why" not in document


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"index.html": '<img src="static/x.svg">'}, r"index\.html: there is no file 'x\.svg'"),
        ({"index.html": '<img src="static/js">'}, r"index\.html: there is no file 'js'"),
        ({"look.css": "p { background: url(x.svg); }"}, r"index\.html: .* url\(\)"),
        ({"look.css": "p::after { content: '</style>'; }"}, "index.html: .* </"),
        ({"app.webmanifest": '{"icons": [{"src": "x.png"}]}'}, "app.webmanifest: there is no file"),
        ({"js/one.js": "export let one;"}, "js/one.js:1: only"),
    ],
)
def test_page_that_cannot_be_prepared(changed: dict[str, str], why: str) -> None:
    with pytest.raises(UnusablePage, match=why):
        prepare(files(**changed))


def test_change_on_disk_shows(tmp_path: Path) -> None:
    for name, content in files().items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    source = PageSource(tmp_path)
    first = source.page
    source.refresh()
    assert source.page is first

    def change(name: str, text: str) -> None:
        (tmp_path / name).write_text(text)
        source.refresh()

    change("js/one.js", "export const one = 2;")
    second = source.page
    assert second.documents[""].mark != first.documents[""].mark
    # Whoever has its document is still on the way to its parts.
    assert all(source.part(name) for name in first.parts)
    change("js/one.js", "export let one;")
    assert source.page is second
    change("js/two.js", "export const one = 3;")
    change("js/main.js", "import { one } from './two.js';")
    assert b"=3;" in b"".join(part.body for part in source.page.parts.values())
    assert source.file("js/two.js") == tmp_path / "js/two.js"
    (tmp_path / "js/one.js").unlink()
    (tmp_path / ".#main.js").symlink_to("nowhere")
    source.refresh()
    assert source.file("js/one.js") is None


def test_each_language_has_its_words_in_the_script() -> None:
    changed = {
        "index.html": """<html data-words-fr="static/js/texts/fr.js"><p data-t="app.yes">Yes</p>
            <a title="No" class="x" data-t-title="app.no" aria-label="Name">Kept</a>
            <script src="static/js/main.js"></script>""",
        "js/main.js": """import { EN } from './texts/en.js';
            import { FR } from './texts/fr.js';
            console.log((EN ?? FR)['app.yes'], "app.yes", 'not app.yes', `app.yes`);""",
        "js/texts/en.js": "export const EN = {\n  'app.no': 'No',\n  'app.yes': 'Yes',\n};",
        "js/texts/fr.js": "export const FR = {\n  'app.no': 'Non',\n  'app.yes': 'Oui',\n};",
    }
    page = prepare(files(**changed))
    for language, words, others in (("en", b"'Yes'", b"'Oui'"), ("fr", b"'Oui'", b"'Yes'")):
        document = page.documents[language].body.decode()
        # The words are in the script, which sets them before anything is shown.
        assert '<p data-t="b"></p>' in document
        assert '<a class="x" data-t-title="a" aria-label="Name">Kept</a>' in document
        addresses = re.findall(r'static/((?:main|fr)-[^"]+)"', document)
        catalogue, script = (page.parts[address].body for address in sorted(addresses))
        assert words in script
        assert others not in script
        assert b"""['b'],"b",'not app.yes',`app.yes`""" in script
        assert b"'b':'Oui'" in catalogue
        assert catalogue.endswith(b"export{FR};")
