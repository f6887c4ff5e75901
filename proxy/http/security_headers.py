"""Headers of each answer that restrict what a browser does with it.

The web client is made of files alone: no script, no style and no markup comes from
anywhere else, so the policy (CSP Level 3) can forbid all that. The one style sheet that is
in the document is named by its hash. ``connect-src 'self'`` stands for ``ws`` and ``wss``
at the same host and port, too.
"""

from collections.abc import MutableMapping
from typing import Final


def policy(*styles: str) -> str:
    """A Content-Security-Policy.

    Args:
        styles: the hashes of style sheets within the document, as the policy names them.
    """
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            " ".join(("style-src 'self'", *styles)),
            "img-src 'self'",
            "connect-src 'self'",
            "manifest-src 'self'",
            "worker-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            # The one rule by which a text becomes the address of a script: the service worker's.
            "trusted-types worker",
        )
    )


_UNUSED: Final = (
    "accelerometer",
    "camera",
    "display-capture",
    "geolocation",
    "gyroscope",
    "magnetometer",
    "microphone",
    "midi",
    "payment",
    "publickey-credentials-get",
    "screen-wake-lock",
    "serial",
    "usb",
)

ALWAYS: Final = {
    "Content-Security-Policy": policy(),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": ", ".join(f"{feature}=()" for feature in _UNUSED),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # A browser asks each time whether its copy is still good: after an upgrade no
    # part of the page is older than the others.
    "Cache-Control": "no-cache",
}
STRICT_TRANSPORT: Final = "max-age=31536000"
"""For a year, a browser speaks TLS alone with this host (RFC 6797)."""


def add(headers: MutableMapping[str, str], *, encrypted: bool) -> None:
    """Adds to the headers of an answer.

    Args:
        headers: its headers.
        encrypted: whether the client speaks TLS.
    """
    for name, value in ALWAYS.items():
        headers.setdefault(name, value)
    if encrypted:
        headers.setdefault("Strict-Transport-Security", STRICT_TRANSPORT)
