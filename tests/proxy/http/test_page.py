"""The page over HTTP: what is kept for ever, what is asked for anew, and in which encoding."""

import gzip
import re

import brotli
import pytest

from proxy.page.source import STATIC
from tests.proxy.web_client import Http

FOR_EVER = "public, max-age=31536000, immutable"
NOTHING = {"Accept-Encoding": "identity"}


@pytest.fixture
async def script(http: Http) -> str:
    """The address of the page's script."""
    async with http.get("/") as answer:
        [found] = re.findall(r'src="(static/main-[^"]+\.js)"', await answer.text())
        return f"/{found}"


async def test_document_is_asked_for_anew(http: Http) -> None:
    async with http.get("/") as answer:
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        etag = answer.headers["ETag"]
    for known, status in ((etag, 304), (f'"x", {etag}', 304), (f"W/{etag}", 304), ('"x"', 200)):
        async with http.get("/", headers={"If-None-Match": known}) as answer:
            assert answer.status == status
            assert answer.headers["ETag"] == etag
            # Of an answer without a body, a browser takes the headers over.
            assert "'sha256-" in answer.headers["Content-Security-Policy"]
            assert answer.headers["Cache-Control"] == "no-cache"


async def test_parts_are_kept_for_ever(http: Http) -> None:
    async with http.get("/") as answer:
        named = set(re.findall(r'="(static/[^"]+)"', await answer.text()))
    for name in named:
        async with http.get(f"/{name}") as answer:
            assert answer.status == 200
            assert answer.headers["Cache-Control"] == FOR_EVER
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


ENCODINGS = {
    "gzip, deflate, br, zstd": "br",
    "gzip, deflate": "gzip",
    "br ; q=1, GZIP;q=0.5": "br",
    "BR;q=0, gzip": "gzip",
    "gzip; q=0.000, identity": None,
    "gzip;q=0.001": "gzip",
    "brgzip": None,
    "identity": None,
    "": None,
}
UNPACK = {None: bytes, "br": brotli.decompress, "gzip": gzip.decompress}


async def test_encoding_is_negotiated(http: Http, script: str) -> None:
    async with http.get(script, headers=NOTHING) as plain:
        own, whole = plain.headers["ETag"], await plain.read()
    for accepted, encoding in ENCODINGS.items():
        async with http.session.get(
            http.make_url(script), headers={"Accept-Encoding": accepted}, auto_decompress=False
        ) as answer:
            assert answer.headers.get("Content-Encoding") == encoding, accepted
            assert answer.headers["Vary"] == "Accept-Encoding"
            body = await answer.read()
            assert len(body) == int(answer.headers["Content-Length"])
            assert (answer.headers["ETag"] != own) is (encoding is not None)
        assert UNPACK[encoding](body) == whole


async def test_worker_is_for_the_page_above_it(http: Http) -> None:
    async with http.get("/static/sw.js") as answer:
        assert answer.headers["Service-Worker-Allowed"] == "../"
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.content_type == "text/javascript"
        etag = answer.headers["ETag"]
    async with http.get("/static/sw.js", headers={"If-None-Match": etag}) as answer:
        assert answer.status == 304


async def test_head_tells_what_get_gives(http: Http, script: str) -> None:
    for path in ("/", script, "/static/js/main.js"):
        async with http.get(path) as got, http.head(path) as told:
            assert told.status == 200
            for name in ("Content-Length", "Content-Type", "ETag", "Cache-Control"):
                assert told.headers[name] == got.headers[name]
            assert await told.read() == b""


async def test_part_of_another_version_is_not_found(http: Http, script: str) -> None:
    other = re.sub("-[0-9a-f]{16}", f"-{'0' * 16}", script)
    async with http.get(other) as answer:
        assert answer.status == 404
        assert answer.headers["Cache-Control"] == "no-store"


async def test_files_are_served_as_written(http: Http) -> None:
    for name, content_type in (
        ("index.html", "text/html"),
        ("js/view/dom.js", "text/javascript"),
        ("icon.svg", "image/svg+xml"),
        ("style/base.css", "text/css"),
    ):
        async with http.get(f"/static/{name}") as answer:
            assert answer.content_type == content_type
            assert answer.headers["Cache-Control"] == "no-cache"
            assert await answer.read() == (STATIC / name).read_bytes()


LANGUAGES = {
    "fr": "fr",
    "fr-CA,en;q=0.9": "fr",
    "de, FR;q=0.8, en;q=0.7": "fr",
    "en-GB,fr": "en",
    "de": "en",
    "": "en",
    ";,-;": "en",
}


async def test_document_is_in_the_language_of_the_browser(http: Http) -> None:
    for wishes, language in LANGUAGES.items():
        async with http.get("/", headers={"Accept-Language": wishes}) as answer:
            assert "Accept-Language" in answer.headers["Vary"]
            [script] = re.findall(r'src="(static/main-[^"]+)"', await answer.text())
        async with http.get(f"/{script}") as answer:
            assert ("Rejoindre" in await answer.text()) is (language == "fr"), wishes
