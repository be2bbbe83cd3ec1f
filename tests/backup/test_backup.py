"""T19: what is in a backup and what never is; and that there is none until it is whole."""

import gzip
import os
import signal
import subprocess
import sys
import tarfile
import time

import pytest
from backups import WHOLE, say

from formicary.runner.backup import archive
from formicary.runner.backup import backup as backup_module
from formicary.runner.backup.backup import back_up
from formicary.runner.backup.workplace import workplace_in
from formicary.runner.core.errors import SetupError, WorldError


def names(made):
    with tarfile.open(made.path) as tar:
        return tar.getnames()


def object_of(digest):
    return f"artifacts/objects/{digest.sha256[:2]}/{digest.sha256[2:]}"


def test_what_is_in_it(kept, backup):
    """The database, its logs and bytes, as they lie in a data folder; the first file says what it is, the last all."""
    made = backup()
    assert names(made) == [
        "formicary-backup.json",
        "logs/0/1-1.log",
        "logs/0/2-1.log",
        object_of(kept.digest),
        object_of(kept.cached),
        "caches.json",
        "formicary.db",
        "manifest.json",
    ]
    assert made.requests == 3
    assert made.manifest.below("artifacts") == (2, 4006)
    assert made.manifest.lost == {}
    assert made.path.stat().st_mode & 0o777 == 0o600
    assert made.size == made.path.stat().st_size


def test_no_key_and_no_token_is_in_it(kept, backup):
    """T19: the master key, the admin token, the secrets of hooks and the settings stay where they are."""
    plain = gzip.decompress(backup().path.read_bytes())
    assert b"canary-of-the-keys" not in plain
    assert b"hello" in plain


def test_the_log_of_a_running_task_is_cut_at_a_frame(kept, backup):
    made = backup()
    with tarfile.open(made.path) as tar:
        assert tar.extractfile("logs/0/2-1.log").read() == WHOLE
        assert tar.extractfile("logs/0/1-1.log").read() == kept.log.read_bytes()


def test_parts_can_be_left_out(kept, backup):
    made = backup(parts=())
    assert names(made) == ["formicary-backup.json", "formicary.db", "manifest.json"]
    assert made.manifest.parts == ()
    assert object_of(kept.cached) not in names(backup(parts=("artifacts",)))


def test_bytes_that_were_lost_before_are_said(kept, backup):
    """A hole in the data folder is no fault of the backup, and not passed over in silence."""
    path = kept.data / object_of(kept.digest)
    path.chmod(0o600)
    path.write_bytes(b"rotten")
    assert backup().manifest.lost == {kept.digest.sha256: "artifact 1 ('out' of request 1)"}
    path.unlink()
    (kept.data / object_of(kept.cached)).unlink()
    assert set(backup().manifest.lost) == {kept.digest.sha256, kept.cached.sha256}


def test_what_expires_while_it_is_made_is_not_in_the_copy(kept, backup, monkeypatch):
    """Retention deletes an artifact between the copy of the database and that of its bytes."""
    measure = backup_module._Copied._measure

    def expire(copied, logs):
        kept.written("DELETE FROM artifacts")
        kept.objects.delete(kept.digest.sha256)
        measure(copied, logs)

    monkeypatch.setattr(backup_module._Copied, "_measure", expire)
    made = backup()
    assert object_of(kept.digest) not in names(made)
    assert kept.digest.sha256 not in made.manifest.lost


def test_places_where_no_backup_is_put(kept, backup):
    made = backup()
    with pytest.raises(SetupError, match="there already"):
        back_up(kept.data, made.path, (), say)
    with pytest.raises(SetupError, match="lies in the data folder"):
        back_up(kept.data, kept.data / "logs" / "b.tar.gz", (), say)
    with pytest.raises(SetupError, match="no folder"):
        back_up(kept.data, backup.folder / "none" / "b.tar.gz", (), say)
    with pytest.raises(SetupError, match="no Formicary data"):
        back_up(backup.folder, backup.folder.parent / "b.tar.gz", (), say)


def test_a_disk_that_fills_leaves_nothing(kept, backup, monkeypatch):
    def full(writer, name, source, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive.ArchiveWriter, "add", full)
    with pytest.raises(WorldError, match="No space left on device"):
        backup()
    assert list(backup.folder.iterdir()) == []


KILLED = """\
import os, signal, sys
from pathlib import Path
from formicary.runner.backup import backup
from formicary.runner.backup.archive import ArchiveWriter
real = ArchiveWriter.add
def die(self, name, source, size):
    if name == "formicary.db":
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, name, source, size)
ArchiveWriter.add = die
backup.back_up(Path(sys.argv[1]), Path(sys.argv[2]), backup.PARTS, lambda words: None)
"""


def test_killed_in_the_middle_there_is_no_backup(kept, backup):
    """What is left has no name that anybody takes for a backup, and the next one clears it away."""
    target = backup.folder / "b.tar.gz"
    done = subprocess.run([sys.executable, "-c", KILLED, str(kept.data), str(target)], timeout=30)
    assert done.returncode == -signal.SIGKILL
    (left,) = backup.folder.iterdir()
    assert left.name.startswith(".formicary-backup-")
    os.utime(left, (time.time() - 3600,) * 2)
    made = back_up(kept.data, target, (), say)
    assert list(backup.folder.iterdir()) == [made.path]


def test_the_workplace_of_one_who_lives_is_left_alone(tmp_path):
    with workplace_in(tmp_path, ".w-") as first:
        os.utime(first, (time.time() - 3600,) * 2)
        with workplace_in(tmp_path, ".w-") as second:
            assert first.is_dir() and first != second
    assert list(tmp_path.iterdir()) == []
