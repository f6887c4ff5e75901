"""Keys, tokens and certificates for a target that requires them."""

import time
from pathlib import Path
from typing import Final, NamedTuple

import trustme

from chat.commands.token import load_key, mint

_HOUR: Final = 3600


class Safety(NamedTuple):
    """Options of server and proxy, and the credentials of their clients.

    Attributes:
        server: options of the server.
        proxy: options of the proxy.
        token: the token of all clients; empty for none.
        authority: the file with the proxy's CA, in PEM; empty without TLS.
    """

    server: tuple[str, ...] = ()
    proxy: tuple[str, ...] = ()
    token: str = ""
    authority: str = ""


def none(_: Path) -> Safety:
    """No authentication."""
    return Safety()


def tokens(folder: Path) -> Safety:
    """Creates a key in a folder, and tokens for ada and for the proxy."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "key.pem"
    key = load_key(path)
    end = int(time.time()) + _HOUR
    credential = folder / "proxy.token"
    credential.write_text(mint(key, path.name, {"sub": "edge", "exp": end, "role": "proxy"}))
    rooms = {"read": ["*"], "write": ["*"]}
    return Safety(
        ("--token-keys", f"{path}.jwks"),
        ("--upstream-token-file", str(credential)),
        mint(key, path.name, {"sub": "ada", "exp": end, "rooms": rooms}),
    )


def tokens_and_tls(folder: Path) -> Safety:
    """The same, with TLS on both links."""
    server, proxy, token, _ = tokens(folder)
    authority = trustme.CA()
    root, chain, key = (str(folder / name) for name in ("root.pem", "chain.pem", "chain.key"))
    authority.cert_pem.write_to_path(root)
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(key)
    issued.cert_chain_pems[0].write_to_path(chain)
    shown = ("--tls-certificate", chain, "--tls-key", key)
    return Safety((*server, *shown), (*proxy, *shown, "--upstream-ca", root), token, root)
