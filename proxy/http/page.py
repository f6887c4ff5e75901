"""The page over HTTP: its document, its parts, and the files that they were made of.

==================  =====================================================
the document        carries its style sheet; asked for anew each time, and not
                    sent again if the browser's copy of it is the same (ETag)
a part              at an address that tells its content: good for ever
a file              as it was written, for those who change the page
==================  =====================================================
"""

import re
from typing import Final

from aiohttp import web
from aiohttp.typedefs import LooseHeaders

from proxy.http.security_headers import policy
from proxy.page.prepared import TYPES, Part
from proxy.page.source import PageSource

_FOR_EVER: Final = "public, max-age=31536000, immutable"
# What looks like the address of a part, and is none: of another version, perhaps. It may be
# there after an upgrade.
_MARKED: Final = re.compile(r"-[0-9a-f]{16}\.\w+$")
_NO_GZIP: Final = re.compile(r"gzip\s*;\s*q=0(\.0*)?\s*(,|$)", re.IGNORECASE)


class PageHandlers:
    """Answers requests for the page and for what belongs to it."""

    def __init__(self, source: PageSource) -> None:
        self._source = source

    def document(self, request: web.Request) -> web.StreamResponse:
        """Answers a request for the page."""
        self._source.refresh()
        page = self._source.page
        headers = {"Content-Security-Policy": policy(page.style_hash)}
        return _answer(request, page.document, headers)

    async def below(self, request: web.Request) -> web.StreamResponse:
        """Answers a request for anything else of the page.

        Raises:
            aiohttp.web.HTTPNotFound: there is nothing of this name.
        """
        name = request.match_info["name"]
        part = self._source.part(name)
        if part is not None:
            return _answer(request, part, {"Cache-Control": _FOR_EVER})
        path = self._source.file(name)
        if path is None:
            raise web.HTTPNotFound(
                headers={"Cache-Control": "no-store"} if _MARKED.search(name) else None
            )
        return web.FileResponse(path, headers=_type_of(path.suffix))


def _answer(request: web.Request, part: Part, headers: dict[str, str]) -> web.Response:
    packs = bool(part.packed) and _takes_gzip(request)
    # Other bytes are another entity (RFC 9110, section 8.8.3.3).
    etag = f"{part.mark}-gzip" if packs else part.mark
    headers["ETag"] = f'"{etag}"'
    if part.packed:
        headers["Vary"] = "Accept-Encoding"
    known = request.if_none_match or ()
    if any(each.value in (etag, "*") for each in known):
        return web.Response(status=304, headers=headers)
    if packs:
        headers["Content-Encoding"] = "gzip"
    body = part.packed if packs else part.body
    charset = "utf-8" if part.content_type.startswith("text/") else None
    return web.Response(body=body, headers=headers, content_type=part.content_type, charset=charset)


def _takes_gzip(request: web.Request) -> bool:
    accepted = request.headers.get("Accept-Encoding", "")
    return "gzip" in accepted.lower() and not _NO_GZIP.search(accepted)


def _type_of(end: str) -> LooseHeaders | None:
    # Which types a machine knows is up to its own tables.
    return {"Content-Type": TYPES[end]} if end in TYPES else None
