"""The file with the keys of tokens, which may be replaced while they are in use.

=========================================  ===========================================
the file has become                        valid tokens from then on
=========================================  ===========================================
other keys                                 tokens of those
a JWK Set of which no key can be used,     no token: whoever replaced it took the keys
also an empty one                          back
gone, not to be read, or anything else,    tokens of the keys that there were: one that
such as half of a set                      is half-written locks nobody out
=========================================  ===========================================
"""

import stat
from pathlib import Path
from time import monotonic
from typing import Final

from chat.access.keys import Key, NoKeyLeft, UnusableKeys, parse_keys
from hosting.logs import get_logger

log = get_logger(__name__)

_LOOK_AGAIN_SECONDS: Final = 1.0
# More than any set of keys has; each is looked at in the event loop.
_LARGEST: Final = 256 * 1024

_Stamp = tuple[int, ...]


class KeyFile:
    """The keys of a file.

    Raises:
        UnusableKeys: it cannot be read, or holds no usable keys.

    Attributes:
        generation: how often the keys were others.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.generation = 0
        # Of what the file held last; and of what was told of it, if it was of no use.
        self._stamp: _Stamp = ()
        self._told: tuple[_Stamp, str] | None = None
        self._keys: tuple[Key, ...] = ()
        self._looked = monotonic()
        try:
            self._load(self._look())
        except OSError as error:
            raise UnusableKeys(f"cannot read the keys {path}: {_why(error)}") from error
        except UnusableKeys as error:
            raise UnusableKeys(f"cannot use the keys {path}: {error}") from error

    def find(self, algorithm: str, key_id: str | None) -> tuple[Key, ...]:
        """Finds the keys that a token may have been signed with.

        Args:
            algorithm: the `alg` of the token.
            key_id: likewise; a token that names no key may be of one without a name, or
                of the only one for the algorithm.
        """
        self.refresh()
        fitting = tuple(key for key in self._keys if key.algorithm == algorithm)
        nameless = tuple(key for key in fitting if key.key_id is None)
        if key_id is None:
            return fitting if all(key == fitting[0] for key in fitting) else nameless
        # A key without a name is meant by any name.
        return tuple(key for key in fitting if key.key_id == key_id) or nameless

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def refresh(self) -> None:
        """Reads the file again if it was replaced; looks at it once a second at most.

        It never fails: streams of a key that was taken back end by it.
        """
        now = monotonic()
        if now - self._looked < _LOOK_AGAIN_SECONDS:
            return
        self._looked = now
        stamp: _Stamp = ()
        try:
            stamp = self._look()
            if stamp != self._stamp:
                self._load(stamp)
                log.info("token keys read again", path=str(self._path), keys=len(self._keys))
            self._told = None if self._keys else self._told
        except NoKeyLeft as error:
            self._keys = ()
            self.generation += 1
            self._tell(stamp, "no token is believed: no key is left", str(error))
        except UnusableKeys as error:
            self._tell(stamp, "token keys unusable", str(error))
        except OSError as error:
            self._tell(stamp, "token keys unusable", _why(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the next look may mend it
            self._tell(stamp, "token keys unusable", repr(error), error)

    def _look(self) -> _Stamp:
        """Returns what differs when the file was changed, or may be read now that could not."""
        found = self._path.stat()
        if not stat.S_ISREG(found.st_mode):
            # A pipe would have to be waited for.
            raise OSError("it is not a file")
        return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev

    def _load(self, stamp: _Stamp) -> None:
        """Takes the keys of the file; those that there were stay if it has none.

        Raises:
            OSError: it cannot be read, and is to be read again.
            UnusableKeys: it holds no keys, and is not read again until it is changed.
        """
        with self._path.open("rb") as file:
            text = file.read(_LARGEST + 1)
        self._stamp = stamp
        if len(text) > _LARGEST:
            raise UnusableKeys(f"it has more than {_LARGEST} bytes")
        self._keys = parse_keys(text)
        self.generation += 1

    def _tell(
        self, stamp: _Stamp, event: str, reason: str, defect: Exception | None = None
    ) -> None:
        """Tells what is wrong, once for each change of the file."""
        if self._told != (stamp, reason):
            self._told = stamp, reason
            log.error(event, path=str(self._path), reason=reason, exc_info=defect)


def _why(error: OSError) -> str:
    return error.strerror or str(error)
