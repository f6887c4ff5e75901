"""The page over HTTP: its document, its parts, and the files that they were made of.

==================  =====================================================
the document        carries its style sheet; asked for anew each time, and not
                    sent again if the browser's copy of it is the same (ETag)
the service worker  likewise: a browser looks for a new one by itself
a part              at an address that tells its content: good for ever
a file              as it was written, for those who change the page
==================  =====================================================
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from proxy.http.security_headers import policy
from proxy.page.prepared import TYPES, WORKER, Part
from proxy.page.source import PageSource

_LANGUAGE: Final = "en"
_FOR_EVER: Final = "public, max-age=31536000, immutable"
# What looks like the address of a part, and is none: of another version, perhaps. It may be
# there after an upgrade.
_MARKED: Final = re.compile(r"-[0-9a-f]{16}\.\w+$")
_REFUSED: Final = re.compile(r"q=0(\.0*)?")


class PageHandlers:
    """Answers requests for the page and for what belongs to it."""

    def __init__(self, source: PageSource) -> None:
        self._source = source

    async def document(self, request: web.Request) -> web.StreamResponse:
        """Answers a request for the page."""
        self._source.refresh()
        page = self._source.page
        headers = {"Content-Security-Policy": policy(page.style_hash)}
        if len(page.documents) > 1:
            headers["Vary"] = "Accept-Language"
        wishes = request.headers.get("Accept-Language", "")
        return await _answer(request, _in_language(page.documents, wishes), headers)

    async def below(self, request: web.Request) -> web.StreamResponse:
        """Answers a request for anything else of the page.

        Raises:
            aiohttp.web.HTTPNotFound: there is nothing of this name.
        """
        name = request.match_info["name"]
        part = self._source.part(name)
        if part is not None:
            return await _answer(request, part, {"Cache-Control": _FOR_EVER})
        if name == WORKER:
            # It is for the page, which is above the folder (Service Workers, section 4.1).
            return await _answer(
                request, self._source.page.worker, {"Service-Worker-Allowed": "../"}
            )
        path = self._source.file(name)
        if path is None:
            raise web.HTTPNotFound(
                headers={"Cache-Control": "no-store"} if _MARKED.search(name) else None
            )
        # Which types a machine knows is up to its own tables.
        known = {"Content-Type": TYPES[path.suffix]} if path.suffix in TYPES else {}
        return web.FileResponse(path, headers=known)


async def _answer(request: web.Request, part: Part, headers: dict[str, str]) -> web.Response:
    accepted = _accepted(request.headers.get("Accept-Encoding", ""))
    if not part.is_packed:
        # It would hold up the chat.
        await asyncio.to_thread(lambda: part.packed)
    encoding = next((each for each in part.packed if each in accepted), "")
    # Other bytes are another entity (RFC 9110, section 8.8.3.3).
    etag = f"{part.mark}-{encoding}" if encoding else part.mark
    headers["ETag"] = f'"{etag}"'
    if part.can_be_packed:
        headers["Vary"] = ", ".join(filter(None, (headers.get("Vary"), "Accept-Encoding")))
    if any(known.value in (etag, "*") for known in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    if encoding:
        headers["Content-Encoding"] = encoding
    charset = "utf-8" if part.content_type.startswith("text/") else None
    return web.Response(
        body=part.packed.get(encoding, part.body),
        headers=headers,
        content_type=part.content_type,
        charset=charset,
    )


def _in_language(documents: Mapping[str, Part], wishes: str) -> Part:
    """The document in the first language of the wishes that there is; browsers sort them."""
    wished = (
        wish.strip().partition(";")[0].partition("-")[0].lower() for wish in wishes.split(",")
    )
    language = next((each for each in wished if each in documents), _LANGUAGE)
    return documents.get(language) or next(iter(documents.values()))


def _accepted(header: str) -> set[str]:
    """The encodings that a client names and does not refuse (RFC 9110, section 12.5.3)."""
    named = [each.replace(" ", "").lower().split(";", 1) for each in header.split(",")]
    return {name for name, *weight in named if not _REFUSED.fullmatch("".join(weight))}
