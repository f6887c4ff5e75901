"""The command ``python -m chat.commands.token``: mints tokens for development.

In production an identity provider signs tokens, and the server has its public keys. Here
the signing key is made on the spot and kept in two files: the private part, with which
this command signs, and beside it, as a JWK Set, the public part for ``--token-keys``,
which is made again if it is lost.
"""

import json
import os
import secrets
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import click
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwt.algorithms import OKPAlgorithm

from chat.commands.users import UserId
from hosting import private
from hosting.command import StartError, run_command
from hosting.options import TEXT, TextPath

_ALGORITHM: Final = "EdDSA"
_HOUR: Final = 3600
# Of two that are made at once, the second fails.
_NEW: Final = os.O_CREAT | os.O_EXCL | os.O_WRONLY
_CENTURY: Final = 100 * 366 * 24 * _HOUR


@click.command(help="Mint a token for development, and print it.")
@click.option("--subject", required=True, type=UserId(), help="The user that it is for.")
@click.option(
    "--key",
    type=TextPath(dir_okay=False, path_type=Path),
    default=Path("data/signing-key.pem"),
    show_default=True,
    help="The private key; made if it is not there, with its public part in KEY.jwks.",
)
@click.option(
    "--read", type=TEXT, multiple=True, default=("*",), show_default=True, help="Rooms to read."
)
@click.option(
    "--write", type=TEXT, multiple=True, default=("*",), show_default=True, help="Rooms to send to."
)
@click.option("--role", type=click.Choice(["user", "moderator", "admin", "proxy"]), default="user")
@click.option("--seconds", type=click.IntRange(1, _CENTURY), default=_HOUR, show_default=True)
@click.option("--issuer", type=TEXT, help="The claim iss.")
@click.option("--audience", type=TEXT, help="The claim aud.")
@click.option(
    "--output",
    type=TextPath(dir_okay=False, path_type=Path),
    help="Write it to this file, which nobody else may read, and print nothing.",
)
def command(
    subject: str,
    key: Path,
    read: tuple[str, ...],
    write: tuple[str, ...],
    role: str,
    seconds: int,
    issuer: str | None,
    audience: str | None,
    output: Path | None,
) -> None:
    """Prints a token, or writes it to a file."""
    claims = {
        "sub": subject,
        "exp": int(time.time()) + seconds,
        "rooms": {"read": list(read), "write": list(write)},
        "role": role,
        "iss": issuer,
        "aud": audience,
    }
    try:
        signing = load_key(key)
    except (OSError, ValueError, TypeError) as error:
        raise StartError(f"{key}: cannot be used as a signing key: {error}") from error
    token = mint(signing, key.name, claims)
    if output is None:
        click.echo(token)
        return
    try:
        _write_private(output, f"{token}\n".encode())
    except OSError as error:
        raise StartError(f"{output}: cannot be written: {error}") from error


def load_key(path: Path) -> Ed25519PrivateKey:
    """Reads a signing key, or makes one.

    Raises:
        OSError: it cannot be read, or not be made.
        ValueError: it is not an Ed25519 key.
    """
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError:
        return _make_key(path)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("it is not an Ed25519 key")  # noqa: TRY004 - of what is in the file
    _publish(key, path)
    return key


def mint(key: Ed25519PrivateKey, key_id: str, claims: dict[str, Any]) -> str:
    """Signs a token; claims that are `None` are left out."""
    said = {name: value for name, value in claims.items() if value is not None}
    said |= {"jti": secrets.token_hex(8)}
    return jwt.encode(said, key, _ALGORITHM, headers={"kid": key_id})


def _make_key(path: Path) -> Ed25519PrivateKey:
    key = Ed25519PrivateKey.generate()
    private.make_folder(path.parent)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with os.fdopen(private.open_file(path, _NEW), "wb") as file:
        file.write(secret)
    click.echo(f"made {path}", err=True)
    _publish(key, path)
    return key


def _publish(key: Ed25519PrivateKey, path: Path) -> None:
    """Makes the file with the public part, unless it is there."""
    jwk = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    jwks = {"keys": [{**jwk, "kid": path.name, "alg": _ALGORITHM, "use": "sig"}]}
    public = path.with_name(f"{path.name}.jwks")
    if not public.exists():
        with os.fdopen(private.open_file(public, _NEW), "w") as file:
            file.write(json.dumps(jwks, indent=1) + "\n")
        click.echo(f"made {public}", err=True)


def _write_private(path: Path, content: bytes) -> None:
    """Puts a file in its place, whole, and for its owner alone from the first byte on."""
    if path.exists() and not path.is_file():
        raise FileExistsError("it is there, and no file")  # such as /dev/stdout
    private.make_folder(path.parent)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def main() -> None:
    """The console script ``chat-token``."""
    run_command(command, "chat-token")


if __name__ == "__main__":
    run_command(command, "python -m chat.commands.token")
