"""The master key: in the environment, in a file that the operator names, or in DATA/master.key, made at the first need.

It is never made anew while something is sealed with another one, never in a backup, and never read from a file that
others may read.
"""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from formicary.runner.core.errors import Locked, SetupError
from formicary.runner.store.seal import KEY_BYTES, Seal, key_from

FILE_NAME: Final = "master.key"
VARIABLE: Final = "FORMICARY_MASTER_KEY"
FILE_VARIABLE: Final = "FORMICARY_MASTER_KEY_FILE"
_FORM: Final = "64 hex digits or base64 of 32 bytes; make one with: openssl rand -hex 32"


class MasterKey:
    """The key of a data folder, read when it is first wanted and kept in memory from then on."""

    def __init__(self, data: Path, environment: Mapping[str, str] | None = None) -> None:
        variables = os.environ if environment is None else environment
        self._text = variables.get(VARIABLE, "").strip()
        self._named = variables.get(FILE_VARIABLE, "").strip()
        self._file = Path(self._named).expanduser() if self._named else data / FILE_NAME
        self._seal: Seal | None = None
        if self._text and self._named:
            raise SetupError(f"the master key is in {VARIABLE} or in the file of {FILE_VARIABLE}, not in both")

    @property
    def place(self) -> str:
        """Where it is, or would be."""
        return VARIABLE if self._text else str(self._file)

    def __call__(self, sealed: Mapping[str, int]) -> Seal:
        """The key. `sealed`: how many secrets there are, by the id of their key; only where there is none a new key is
        made. One that fits nothing is read again, so that the right one counts when it is back. Raises Locked."""
        if self._seal is None or (sealed and self._seal.key_id not in sealed):
            self._seal = Seal(self._read() or self._make(sealed))
        return self._seal

    def complaint(self, sealed: Mapping[str, int]) -> str:
        """What is wrong with the key, given what is sealed; empty if nothing is. Makes none."""
        try:
            found = self._seal or ((key := self._read()) and Seal(key))
        except SetupError as error:
            return str(error)
        if not sealed or (found and set(sealed) == {found.key_id}):
            return ""
        return _missing(self.place, sealed) if not found else _wrong(self.place, found.key_id, sealed)

    def _read(self) -> bytes | None:
        """None where there is no file yet."""
        text = self._text or self._content()
        if text is None:
            return None
        key = key_from(text)
        if key is None:
            raise Locked(f"{self.place} does not hold a master key: {_FORM}")
        return key

    def _content(self) -> str | None:
        try:
            descriptor = os.open(self._file, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Locked(f"the master key {self._file} cannot be read: {error.strerror}") from error
        with os.fdopen(descriptor, encoding="ascii", errors="replace") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise Locked(f"the master key {self._file} is not a file")
            if found.st_mode & 0o077 or found.st_uid not in (0, os.geteuid()):
                raise Locked(
                    f"others may read or change the master key {self._file}; look who has it, then run: "
                    f"chown {os.geteuid()} {self._file} && chmod 600 {self._file}"
                )
            return file.read(1024)

    def _make(self, sealed: Mapping[str, int]) -> bytes:
        if sealed:
            raise Locked(_missing(self.place, sealed))
        if self._named:
            raise Locked(f"there is no {self._file}, which {FILE_VARIABLE} names; it holds {_FORM}")
        key = secrets.token_bytes(KEY_BYTES)
        try:
            _write(self._file, key.hex() + "\n")
        except OSError as error:
            raise Locked(f"the master key {self._file} cannot be written: {error.strerror}") from error
        return key


def _write(path: Path, text: str) -> None:
    """A whole new file or none, and on the disk: what is sealed must not outlive its key in a power cut."""
    descriptor, new = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # 0600
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        os.link(new, path)  # never over another key
    finally:
        Path(new).unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _missing(place: str, sealed: Mapping[str, int]) -> str:
    return (
        f"{_counted(sealed)} with the master key {_ids(sealed)}, and {place} is not there; put your copy of the key "
        f"back, or remove these secrets (formicary secrets rm) and set them anew"
    )


def _wrong(place: str, key_id: str, sealed: Mapping[str, int]) -> str:
    return (
        f"{_counted(sealed)} with the master key {_ids(sealed)}, and {place} holds the key {key_id}; put the right one "
        f"back, or remove these secrets (formicary secrets rm) and set them anew"
    )


def _counted(sealed: Mapping[str, int]) -> str:
    count = sum(sealed.values())
    return "1 secret is sealed" if count == 1 else f"{count} secrets are sealed"


def _ids(sealed: Mapping[str, int]) -> str:
    return " and ".join(sorted(sealed))
