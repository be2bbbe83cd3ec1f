"""The form of a backup: one gzipped tar of regular files with known names, which lie as in a data folder.

The first file says what the backup is, the last one, the manifest, names all others with size and digest; so it is
written and read in one go, and what is cut off has no manifest. Nothing else may be in it (T11).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from formicary.runner.core.errors import UserError
from formicary.runner.store.connect import FILE_NAME

H = TypeVar("H", bound="Head")

FORMAT: Final = 1
HEAD: Final = "formicary-backup.json"
DATABASE: Final = FILE_NAME
CACHES: Final = "caches.json"
MANIFEST: Final = "manifest.json"
LOG: Final = re.compile(r"logs/([0-9]{1,15})/(([0-9]{1,18})-[0-9]{1,18})\.(?:log|archived)")
OBJECT: Final = re.compile(r"artifacts/objects/([0-9a-f]{2})/([0-9a-f]{62})")

CHUNK: Final = 1 << 20
MAX_TEXT: Final = 1 << 30
"""The manifest and the caches' names are read into memory: not more than this."""
MAX_FILES: Final = 50_000_000
_LEVEL: Final = 1
_GZIP_HEAD: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"
"""What GzipFile writes at that level, without name and time. No checksum covers it, so it is compared."""


class DamagedBackup(UserError):
    """This backup is not whole."""


class Entry(NamedTuple):
    """A file of a backup; `size` in bytes, `sha256` in hex."""

    name: str
    size: int
    sha256: str


class _Form(BaseModel):
    """What every format has."""

    format: int
    program: str


class Head(_Form):
    """What a backup is: `created_at` in seconds since the epoch, `parts` of logs, artifacts and caches."""

    model_config = ConfigDict(frozen=True)

    schema_version: int
    created_at: float
    parts: tuple[str, ...]


class Manifest(Head):
    """All files of a backup but the manifest itself. `lost`: digests whose bytes the data folder had no more, or
    damaged, and what had them, in words."""

    files: tuple[Entry, ...]
    lost: dict[str, str]

    def below(self, folder: str) -> tuple[int, int]:
        """How many files there are below this folder, and how many bytes."""
        sizes = [entry.size for entry in self.files if entry.name.startswith(f"{folder}/")]
        return len(sizes), sum(sizes)


class Cached(BaseModel):
    """A cache's name, and its bytes."""

    name: str
    sha256: str
    size: int


CACHED: Final = TypeAdapter(tuple[Cached, ...])


class ArchiveWriter:
    """Writes the files of a backup one after the other. Close it, whatever happens."""

    def __init__(self, file: BinaryIO) -> None:
        self.files: list[Entry] = []
        self._gzip = gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=file, mtime=0)
        self._tar = tarfile.open(  # noqa: SIM115 (it is closed with us)
            fileobj=self._gzip, mode="w|", format=tarfile.GNU_FORMAT, bufsize=CHUNK
        )

    def add(self, name: str, source: BinaryIO, size: int) -> Entry:
        """The first `size` bytes of the source. Raises OSError where there are fewer."""
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, 0o600
        hashed = _Hashed(source)
        self._tar.addfile(member, hashed)  # type: ignore[arg-type]  # it reads and nothing else
        self._tar.members = []  # type: ignore[attr-defined]  # else it remembers each of them
        self.files.append(Entry(name, size, hashed.sum.hexdigest()))
        return self.files[-1]

    def add_text(self, name: str, text: str) -> None:
        data = text.encode()
        self.add(name, io.BytesIO(data), len(data))

    def close(self) -> None:
        self._tar.close()
        self._gzip.close()


class _Hashed:
    def __init__(self, source: BinaryIO) -> None:
        self.sum = hashlib.sha256()
        self._source = source

    def read(self, size: int) -> bytes:
        data = self._source.read(size)
        self.sum.update(data)
        return data


class _Unzipped:
    """The bytes of exactly one gzip stream that fills its file. Nothing may be added, missing or changed in what it
    says; two streams may say the same, as a match may point to any of its equals."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._inflate = zlib.decompressobj(wbits=31)
        head = file.read(len(_GZIP_HEAD))
        if head != _GZIP_HEAD:
            raise DamagedBackup("It does not begin as a backup of Formicary begins.")
        self._inflate.decompress(head)

    def read(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size and not self._inflate.eof:
            data = self._inflate.unconsumed_tail or self._file.read(CHUNK)
            if not data:
                raise DamagedBackup("It is cut off.")
            found += self._inflate.decompress(data, size - len(found))
        return bytes(found)

    def finish(self) -> None:
        """Read to the end: there the checksum of it all is compared."""
        while data := self.read(CHUNK):
            if data.count(0) != len(data):
                raise DamagedBackup("There is something behind its last file.")
        if self._inflate.unused_data or self._file.read(1):
            raise DamagedBackup("There is something behind its end.")


class _Plain(tarfile.TarInfo):
    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        """Regular files, and no extended headers (T11)."""
        if self.type != tarfile.REGTYPE:
            raise DamagedBackup(f"{self.name[:200]!r} in it is no regular file.")
        return super()._proc_member(tar)  # type: ignore[misc,no-any-return]  # typeshed leaves it out


class Content:
    """The bytes of one file of a backup; read them once."""

    def __init__(self, name: str, size: int, source: BinaryIO) -> None:
        self.name, self.size = name, size
        self._source = source
        self._sum = hashlib.sha256()
        self._seen = 0

    def blocks(self) -> Iterator[bytes]:
        while block := self._source.read(CHUNK):
            self._sum.update(block)
            self._seen += len(block)
            yield block

    def text(self) -> bytes:
        """All of it. Raises DamagedBackup where it is too large for a text."""
        if self.size > MAX_TEXT:
            raise DamagedBackup(f"{self.name} in it has {self.size} bytes.")
        return b"".join(self.blocks())

    def entry(self) -> Entry:
        for _ in self.blocks():
            pass  # whatever was not read yet counts too
        return Entry(self.name, self._seen, self._sum.hexdigest())


def read(file: BinaryIO, take: Callable[[Content], None]) -> Manifest:
    """Hand every file but head and manifest to `take`, then compare them with the manifest. Raises DamagedBackup."""
    unzipped = _Unzipped(file)
    seen: dict[str, Entry] = {}
    manifest: Manifest | None = None
    try:
        with tarfile.open(fileobj=unzipped, mode="r|", tarinfo=_Plain, bufsize=CHUNK) as tar:  # type: ignore[call-overload]
            for content in _contents(tar):
                if content.name in seen or manifest is not None:
                    raise DamagedBackup(f"{content.name} in it is there twice, or behind the manifest.")
                if content.name == MANIFEST:
                    manifest = _parsed(content.text(), Manifest)
                    continue
                _take(content, take, first=not seen)
                seen[content.name] = content.entry()
        unzipped.finish()
    except (tarfile.TarError, zlib.error) as error:
        last = next(reversed(seen), "its first file")
        raise DamagedBackup(f"It is damaged behind {last} ({error}).") from error
    if manifest is None:
        raise DamagedBackup("It has no manifest; it is cut off or damaged.")
    _compare(seen, manifest)
    return manifest


def _take(content: Content, take: Callable[[Content], None], *, first: bool) -> None:
    if first != (content.name == HEAD):
        raise DamagedBackup(f"Its first file is {content.name}, and not {HEAD}; it is no backup of Formicary.")
    if first:
        _parsed(content.text(), Head)
    else:
        take(content)


def _contents(tar: tarfile.TarFile) -> Iterator[Content]:
    for number, member in enumerate(tar):
        if number >= MAX_FILES or not _known(member.name):
            raise DamagedBackup(f"{member.name[:200]!r} is nothing that a backup holds.")
        source = tar.extractfile(member)
        assert source is not None, "a regular file has content"
        yield Content(member.name, member.size, source)  # type: ignore[arg-type]  # IO[bytes] is what tarfile calls it
        tar.members = []  # type: ignore[attr-defined]


def _known(name: str) -> bool:
    log = LOG.fullmatch(name)
    if log:
        return int(log[3]) // 1000 == int(log[1])
    return name in (HEAD, DATABASE, CACHES, MANIFEST) or bool(OBJECT.fullmatch(name))


def _parsed(data: bytes, model: type[H]) -> H:
    try:
        form = _Form.model_validate_json(data)
        if form.format != FORMAT:
            raise DamagedBackup(
                f"It has format {form.format}, made by formicary {form.program}; this program knows format {FORMAT}."
            )
        return model.model_validate_json(data)
    except ValidationError as error:
        raise DamagedBackup(f"What it says of itself is not understood ({error.errors()[0]['msg']}).") from error


def _compare(seen: dict[str, Entry], manifest: Manifest) -> None:
    named = {entry.name: entry for entry in manifest.files}
    wrong = [f"{name} is named by its manifest and not there." for name in named if name not in seen]
    wrong += [f"{name} is there and not named by its manifest." for name in seen if name not in named]
    wrong += [f"{name} is not what its manifest says." for name in seen if seen[name] != named.get(name, seen[name])]
    if wrong:
        raise DamagedBackup("\n".join(wrong))
