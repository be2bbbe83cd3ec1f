"""What is unpacked for a task, by our own policy (T11): regular files and folders only, resolved below the workspace
without following links, within caps on count and size; more bytes than the archive has cannot come out of it.
"""

from __future__ import annotations

import tarfile
from typing import BinaryIO, Final

from formicary.ant.below import MAX_DEPTH, Below, parts_of
from formicary.ant.settings import ArtifactLimits
from formicary.runner.core.errors import UserError

_MAX_HEADER: Final = 64 * 1024
_MAX_PATH: Final = 4096
_CHUNK: Final = 1 << 20
_EXTENDED: Final = frozenset(
    {
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    }
)


class HostileArchive(UserError):
    """This archive holds something that is not unpacked."""


class _Info(tarfile.TarInfo):
    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        """Extended headers are read into memory whole: not those of a bomb."""
        if self.type in _EXTENDED and self.size > _MAX_HEADER:
            raise HostileArchive(f"The archive holds a header of {self.size} bytes; it is not unpacked.")
        return super()._proc_member(tar)  # type: ignore[misc,no-any-return]  # typeshed leaves it out


def unpack(source: BinaryIO, into: Below, limits: ArtifactLimits, folder: str = "") -> int:
    """Unpack a tar, below `folder`; returns how many bytes of content there were.

    Raises HostileArchive, Outside, OSError.
    """
    count = size = 0
    try:
        with tarfile.open(fileobj=source, mode="r|", tarinfo=_Info) as tar:
            for member in tar:
                count, size = count + 1, size + max(member.size, 0)
                if count > limits.max_files:
                    raise HostileArchive(f"The archive holds more than {limits.max_files} files; it is not unpacked.")
                if size > limits.max_bytes:
                    raise HostileArchive(f"The archive holds more than {limits.max_bytes} bytes; it is not unpacked.")
                _put(tar, member, into, folder)
    except (tarfile.TarError, UnicodeError, ValueError) as error:
        raise HostileArchive(f"The archive is damaged and cannot be unpacked: {error}.") from error
    return size


def _put(tar: tarfile.TarFile, member: tarfile.TarInfo, into: Below, folder: str) -> None:
    if len(member.name) > _MAX_PATH:
        raise HostileArchive("The archive holds a path that is longer than any may be; it is not unpacked.")
    if len(parts_of(member.name)) > MAX_DEPTH:
        raise HostileArchive(f"The archive holds a path more than {MAX_DEPTH} folders deep; it is not unpacked.")
    path = "/".join((folder, *parts_of(member.name))) if folder else member.name
    if member.isdir():
        into.make_folder(path)
        return
    if not member.isreg() or member.issparse():
        raise HostileArchive(
            f"{member.name[:200]!r} in the archive is neither a regular file nor a folder; it is not unpacked."
        )
    content = tar.extractfile(member)
    assert content is not None, "a regular file has content"
    write(content, into, path, 0o755 if member.mode & 0o111 else 0o644, member.size)


def write(content: BinaryIO | object, into: Below, path: str, mode: int, size: int) -> None:
    """One file, of exactly `size` bytes."""
    left = size
    with open(into.create(path, mode), "wb", buffering=0) as file:
        while left:
            data = content.read(min(left, _CHUNK))  # type: ignore[union-attr]  # IO[bytes] is what tarfile calls it
            if not data:
                raise HostileArchive(f"{path[:200]!r} in the archive is cut off; it is not unpacked.")
            left -= len(data)
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
