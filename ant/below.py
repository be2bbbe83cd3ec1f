"""Files below a folder, reached without following any link: what a task has put there may lie about where it leads."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from formicary.runner.core.errors import UserError

MAX_DEPTH: Final = 150
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Outside(UserError):
    """A path that does not lie below its folder, or leads through a link."""


class Found(NamedTuple):
    """Something below the folder, by its path from there; `mode` as of lstat."""

    path: str
    mode: int
    size: int

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)


def parts_of(path: str) -> tuple[str, ...]:
    """The names in a relative path; none for the folder itself. Raises Outside."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\0" in path:
        raise Outside(f"{path[:200]!r} does not lie in the workspace; give a path relative to it, without `..`.")
    return pure.parts


def _unreadable(path: str) -> Outside:
    """The task's own doing, and the same again however often it is tried."""
    return Outside(f"{path[:200]} cannot be read; let the script make it readable (chmod u+rwX).")


class Below:
    """A folder, open. Everything that is made in it belongs to `owner`, if one is given."""

    def __init__(self, root: Path, owner: int | None = None) -> None:
        self._owner = owner
        self._fd = os.open(root, _FOLDER)

    def __enter__(self) -> Below:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    # ---- reading

    def look(self, path: str) -> Found | None:
        """What is at this path; None if nothing is, or only through a link."""
        *parents, name = parts_of(path) or (".",)
        try:
            with self._folder(parents) as folder:
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            return None
        return Found("/".join((*parents, name)), found.st_mode, found.st_size)

    def read(self, path: str) -> int:
        """A file descriptor of a regular file. Raises Outside, OSError."""
        *parents, name = parts_of(path)
        try:
            with self._folder(parents) as folder:
                handle = os.open(name, _READ, dir_fd=folder)
        except PermissionError as error:
            raise _unreadable(path) from error
        found = os.fstat(handle)
        foreign = self._owner is not None and found.st_nlink > 1 and found.st_uid != self._owner
        if not stat.S_ISREG(found.st_mode) or foreign:
            os.close(handle)
            raise Outside(f"{path} is not a file of this task's own.")
        return handle

    def walk(self, path: str) -> Iterator[Found]:
        """Everything below a folder, in order of names, each folder before what is in it; links are not followed."""
        parts = parts_of(path)
        try:
            with self._folder(parts) as folder:
                yield from self._walk(folder, "/".join(parts), MAX_DEPTH)
        except (FileNotFoundError, NotADirectoryError):
            return
        except PermissionError as error:
            raise _unreadable(path) from error

    def _walk(self, folder: int, path: str, depth: int) -> Iterator[Found]:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            info = entry.stat(follow_symlinks=False)
            here = f"{path}/{entry.name}" if path else entry.name
            yield Found(here, info.st_mode, info.st_size)
            if stat.S_ISDIR(info.st_mode):
                if not depth:
                    raise Outside(
                        f"{here[:200]} lies more than {MAX_DEPTH} folders deep; nothing below it can be kept."
                    )
                try:
                    inner = os.open(entry.name, _FOLDER, dir_fd=folder)
                except PermissionError as error:
                    raise _unreadable(here) from error
                try:
                    yield from self._walk(inner, here, depth - 1)
                finally:
                    os.close(inner)

    # ---- writing

    def make_folder(self, path: str) -> None:
        with self._folder(parts_of(path), make=True):
            pass

    def create(self, path: str, mode: int) -> int:
        """A file descriptor of a new file, in place of a file or link that was there. Raises Outside, OSError."""
        *parents, name = parts_of(path) or (".",)
        with self._folder(parents, make=True) as folder:
            try:
                os.unlink(name, dir_fd=folder)
            except FileNotFoundError:
                pass
            except OSError as error:
                raise Outside(f"{path[:200]!r} is a folder already; a file cannot be put there.") from error
            handle = os.open(name, _WRITE, mode, dir_fd=folder)
        if self._owner is not None:
            os.fchown(handle, self._owner, self._owner)
        return handle

    @contextmanager
    def _folder(self, parts: tuple[str, ...] | list[str], make: bool = False) -> Iterator[int]:
        handle = os.dup(self._fd)
        try:
            for name in parts:
                inner = self._enter(handle, name, make)
                os.close(handle)
                handle = inner
            yield handle
        finally:
            os.close(handle)

    def _enter(self, folder: int, name: str, make: bool) -> int:
        if make:
            try:
                os.mkdir(name, 0o755, dir_fd=folder)
                if self._owner is not None:
                    os.chown(name, self._owner, self._owner, dir_fd=folder, follow_symlinks=False)
            except FileExistsError:
                pass
        try:
            return os.open(name, _FOLDER, dir_fd=folder)
        except (NotADirectoryError, OSError) as error:
            if make and not isinstance(error, FileNotFoundError):
                raise Outside(f"{name[:200]!r} is not a folder; nothing can be put below it.") from error
            raise
