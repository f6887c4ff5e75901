"""What browsers get of the page: the document, and the parts that it names.

The document carries its style sheet, so that the page is painted as soon as it has arrived.
It names the script and all other parts by addresses that tell their content: a browser that
has one of them never asks for it again. Whatever changes gives another document.
"""

import gzip
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Final

import brotli
import orjson

from proxy.page.linker import link
from proxy.page.locals import letters
from proxy.page.modules import Module, UnusablePage, read_module

DOCUMENT: Final = "index.html"
WORKER: Final = "sw.js"
FOLDER: Final = "static/"
"""Where the document's addresses lead, from its own."""

TYPES: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
"""The media types of the files, by the ends of their names."""

_BROTLI_QUALITY: Final = 11
_PACKED: Final = {".css", ".html", ".js", ".svg", ".webmanifest"}
_REFERENCE: Final = re.compile(r'([\w-]+)="static/([^"]+)"')
_CATALOGUE: Final = re.compile(r"js/texts/(\w+)\.js")
_KEY: Final = re.compile(rb"^ *'([a-z_]+\.[\w.]+)':", re.MULTILINE)
_KEY_IN_PAGE: Final = re.compile(r'(data-t[a-z-]*)="([^"]+)"')
_NAMING_TEXT: Final = re.compile(r'(<\w[^>]*\sdata-t(?:-\w+)?="[^>]*>)([^<]*)')
_NAMED: Final = {
    "data-t-label": "aria-label",
    "data-t-placeholder": "placeholder",
    "data-t-title": "title",
}
_STYLE: Final = re.compile(r'<link rel="stylesheet" href="static/([^"]+)">\n?')
_STYLES: Final = re.compile(rf"(?:{_STYLE.pattern})+")


@dataclass(frozen=True)
class Part:
    """One thing to be served.

    Attributes:
        content_type: its media type.
        body: its bytes.
        mark: tells its content: 16 hexadecimal digits.
        can_be_packed: whether that is worth trying.
    """

    content_type: str
    body: bytes
    mark: str
    can_be_packed: bool

    @cached_property
    def packed(self) -> Mapping[str, bytes]:
        """The same, smaller, by the encodings of HTTP; the best one first.

        It takes up to a third of a second, once. Browsers take Brotli over TLS, and from the
        same machine.
        """
        if not self.can_be_packed:
            return {}
        packed = {
            "br": brotli.compress(self.body, mode=brotli.MODE_TEXT, quality=_BROTLI_QUALITY),
            "gzip": gzip.compress(self.body, mtime=0),
        }
        return {name: each for name, each in packed.items() if len(each) < len(self.body)}

    @property
    def is_packed(self) -> bool:
        """Whether that was done."""
        return not self.can_be_packed or "packed" in self.__dict__


@dataclass(frozen=True, slots=True)
class PreparedPage:
    """The page.

    Attributes:
        documents: the document, by the language whose words are in its script.
        style_hash: of the style sheet in it, as a Content-Security-Policy names it.
        parts: the other parts, by their addresses in `FOLDER`.
        worker: the service worker, whose address stays: a browser asks by itself whether
            there is a new one.
    """

    documents: Mapping[str, Part]
    style_hash: str
    parts: Mapping[str, Part]
    worker: Part


def prepare(files: Mapping[str, bytes]) -> PreparedPage:
    """Prepares the page.

    Args:
        files: the files of the page as they were written, by path, ``index.html`` among them.

    Raises:
        UnusablePage: a file is missing, or the script cannot be linked.
    """
    return _Preparation(files).page()


class _Preparation:
    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files
        self.parts: dict[str, Part] = {}
        self.style = ""
        # The words of the page, by language.
        self.catalogues = {
            found[1]: name for name in files if (found := _CATALOGUE.fullmatch(name))
        }
        self.language = ""
        # What texts are called: a few letters do.
        known = {key for name in self.catalogues.values() for key in _KEY.findall(files[name])}
        self.keys = {key: letters(number).encode() for number, key in enumerate(sorted(known))}
        self.modules: dict[tuple[str, bytes], Module] = {}

    def page(self) -> PreparedPage:
        text = self.read(DOCUMENT, DOCUMENT).decode()
        text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
        text = _STYLES.sub(self.style_element, re.sub(r"\n\s+", "\n", text))
        if self.catalogues:
            text = _NAMING_TEXT.sub(_without_words, text)
        text = _KEY_IN_PAGE.sub(self.key_attribute, text)
        documents = {}
        for language in self.catalogues or ("",):
            self.language = language
            documents[language] = _part(DOCUMENT, _REFERENCE.sub(self.reference, text).encode())
        hashed = b64encode(sha256(self.style.encode()).digest()).decode()
        worker = _part(WORKER, link({WORKER: self.read(WORKER, WORKER)}, WORKER).encode())
        return PreparedPage(documents, f"'sha256-{hashed}'", self.parts, worker)

    def sources(self) -> Mapping[str, bytes]:
        """The modules, of whose catalogues all but one are empty."""
        empty = {
            name: "".join(
                f"export const {each} = null;"
                for each in read_module(name, self.files[name]).exports
            ).encode()
            for language, name in self.catalogues.items()
            if language != self.language
        }
        return {**self.files, **empty}

    def read_once(self, name: str, source: bytes) -> Module:
        if (name, source) not in self.modules:
            self.modules[name, source] = read_module(name, source)
        return self.modules[name, source]

    def key_attribute(self, found: re.Match[str]) -> str:
        key = found[2].encode()
        return f'{found[1]}="{self.keys.get(key, key).decode()}"'

    def read(self, name: str, asked_by: str) -> bytes:
        if name not in self.files:
            raise UnusablePage(f"{asked_by}: there is no file {name!r}")
        return self.files[name]

    def style_element(self, found: re.Match[str]) -> str:
        sheets = [self.read(name, DOCUMENT).decode() for name in _STYLE.findall(found[0])]
        style = _without_comments("\n".join(sheets))
        if self.style or "url(" in style or "</" in style:
            told = "its style sheets have to stand together, and to do without url() and </"
            raise UnusablePage(f"{DOCUMENT}: {told}")
        self.style = style
        return f"<style>{style}</style>\n"

    def reference(self, found: re.Match[str]) -> str:
        return f'{found[1]}="{FOLDER}{self.address(found[2], DOCUMENT)}"'

    def address(self, name: str, asked_by: str) -> str:
        """Makes a file a part of the page, and returns its address in the folder."""
        content = self.read(name, asked_by)
        if name in self.catalogues.values():
            content = self.catalogue(name, content)
        elif name.endswith(".js"):
            content = link(self.sources(), name, texts=self.keys, read=self.read_once).encode()
        elif name.endswith(".webmanifest"):
            content = self.manifest(name, content)
        part = _part(name, content)
        path = PurePosixPath(name)
        address = f"{path.stem}-{part.mark}{path.suffix}"
        self.parts[address] = part
        return address

    def catalogue(self, name: str, content: bytes) -> bytes:
        """A catalogue by itself, for those who choose another language than their browser's."""
        module = self.read_once(name, content)
        return f"{module.code({}, self.keys)}export{{{','.join(module.exports)}}};".encode()

    def manifest(self, name: str, content: bytes) -> bytes:
        # The addresses in it are relative to its own, which is in the same folder.
        told = orjson.loads(content)
        for icon in told["icons"]:
            icon["src"] = self.address(icon["src"], name)
        return orjson.dumps(told)


def _part(name: str, body: bytes) -> Part:
    end = PurePosixPath(name).suffix
    if end not in TYPES:
        raise UnusablePage(f"{name}: parts of the page end with one of {', '.join(TYPES)}")
    mark = sha256(body).hexdigest()[:16]
    return Part(TYPES[end], body, mark, end in _PACKED)


def _without_words(found: re.Match[str]) -> str:
    """An element that names texts, without those: its script sets them before it is shown."""
    tag, text = found.groups()
    for name, attribute in _NAMED.items():
        if f" {name}=" in tag:
            tag = re.sub(rf'\s{attribute}="[^"]*"', "", tag)
    return tag if " data-t=" in tag else tag + text


def _without_comments(style: str) -> str:
    """A style sheet without comments, and without blanks that mean nothing."""
    text = r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""
    bare = re.sub(text + r"|/\*.*?\*/", lambda found: found[1] or "", style, flags=re.DOTALL)
    return re.sub(
        text + r"|(?<=:)\s+|\s*([{,])\s*|;?\s*(\})\s*|(;)\s*|\s*(\n)\s*",
        lambda found: "".join(filter(None, found.groups())),
        bare,
    ).strip()
