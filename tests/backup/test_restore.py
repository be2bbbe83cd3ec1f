"""T11, T19: a backup is restored whole or not at all, and every byte of it counts."""

import gzip
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time

import pytest
from backups import WHOLE, say
from sqlite_utils import Database

from formicary.runner.artifacts.directory import DirectoryStore
from formicary.runner.backup import archive
from formicary.runner.backup import restore as restore_module
from formicary.runner.backup.archive import DamagedBackup
from formicary.runner.backup.restore import restore, verify
from formicary.runner.core.errors import Conflict, SetupError, WorldError
from formicary.runner.core.states import State
from formicary.runner.store import schema
from formicary.runner.store.connect import FILE_NAME
from formicary.runner.store.sqlite import open_store


async def test_what_was_saved_goes_on(kept, backup, tmp_path):
    """What has ended is as it was; what ran is lost and repeated (D12), what waited runs; a new epoch has begun."""
    made, data = backup(), tmp_path / "restored"
    checked = restore(made.path, data, say)
    assert checked.contents.requests == 3
    assert data.stat().st_mode & 0o777 == 0o700
    assert (data / "logs/0/1-1.log").read_bytes() == kept.log.read_bytes()
    assert (data / "logs/0/2-1.log").read_bytes() == WHOLE
    objects = DirectoryStore(data / "artifacts")
    with objects.open(kept.digest.sha256) as file:
        assert file.read() == b"made" * 1000
    assert objects.names.resolve("cache/1/deps").digest == kept.cached
    assert not {"master.key", "admin.token", "hooks", "server.json"} & {path.name for path in data.iterdir()}
    async with kept.open_hive(data) as hive, hive.ant("embedded") as ant:
        assert hive.store.epoch > 1_000_000_000
        assert hive.request(1).state is State.COMPLETED
        for _ in range(2):
            await ant.work(await ant.claim())
        for request in (2, 3):
            assert (await hive.ended(request)).state is State.COMPLETED
        assert [one.error_code for one in hive.execution(2).tasks["t"].attempts] == ["ERR_ANT_LOST", ""]
        assert hive.logs.read("2-1").startswith(WHOLE)


def test_verify_writes_nothing(kept, backup, tmp_path, monkeypatch):
    made = backup()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    before = sorted(tmp_path.rglob("*"))
    assert verify(made.path, say).manifest == made.manifest
    assert sorted(tmp_path.rglob("*")) == before


def test_every_byte_counts(backup, tmp_path):
    """Whichever byte of the file is changed, it is found; so is each end that is cut off, and what is added. A deflated
    text can be written in several ways (a match may point to any of its equals), so a changed byte may say the same:
    then nothing of what is restored is another."""
    whole = backup(parts=()).path.read_bytes()
    plain = gzip.decompress(whole)
    broken = tmp_path / "broken.tar.gz"
    places = sorted(
        {*range(60), *range(60, len(whole) - 60, max(len(whole) // 60, 1)), *range(len(whole) - 60, len(whole))}
    )
    for place in places:
        changed = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        broken.write_bytes(changed)
        try:
            verify(broken, say)
        except DamagedBackup:
            continue
        assert gzip.decompress(changed) == plain, f"byte {place} was changed, and what it says with it"
    for length in places:
        broken.write_bytes(whole[:length])
        with pytest.raises(DamagedBackup):
            verify(broken, say)
    for more in (b"\0", b"\0" * 10_000, whole):
        broken.write_bytes(whole + more)
        with pytest.raises(DamagedBackup):
            verify(broken, say)


def remade(made, change):
    """The backup with other files: `change` gets and gives name → bytes."""
    with tarfile.open(made.path) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}
    manifest = json.loads(files.pop("manifest.json"))
    files = change(files, manifest) or files
    path = made.path.with_name("remade.tar.gz")
    with open(path, "wb") as file:
        writer = archive.ArchiveWriter(file)
        for name, data in files.items():
            writer.add(name, io.BytesIO(data), len(data))
        manifest.setdefault("files", [list(entry) for entry in writer.files])
        writer.add_text("manifest.json", json.dumps(manifest))
        writer.close()
    return path


def fitting(change):
    """A change after which the manifest is made anew, so that only what it names is wrong."""

    def changed(files, manifest):
        del manifest["files"]
        return change(files, manifest)

    return changed


def without(name):
    return lambda files, manifest: {key: value for key, value in files.items() if key != name}


def with_file(name, data=b"x"):
    return lambda files, manifest: {**files, name: data}


def with_object_changed(files, manifest):
    name = next(name for name in files if archive.OBJECT.fullmatch(name))
    return {**files, name: b"other bytes"}


def without_objects(files, manifest):
    return {name: data for name, data in files.items() if not archive.OBJECT.fullmatch(name)}


def of_the_future(files, manifest):
    head = json.loads(files[archive.HEAD])
    return {**files, archive.HEAD: json.dumps({"format": 9, "program": head["program"], "other": 1}).encode()}


@pytest.mark.parametrize(
    "change, why",
    [
        (without("logs/0/1-1.log"), "named by its manifest and not there"),
        (with_file("logs/0/1-2.log"), "not named by its manifest"),
        (with_file("logs/0/1-1.log"), "is not what its manifest says"),
        (fitting(with_file("logs/0/9-1.log")), "logs/0/9-1.log belongs to no task execution"),
        (fitting(with_object_changed), "does not hold the bytes"),
        (fitting(without_objects), "The bytes of artifact 1 \\('out' of request 1\\) are not there"),
        (fitting(without_objects), "The bytes of cache 'cache/1/deps' are not there"),
        (fitting(without("formicary.db")), "no database"),
        (fitting(with_file("formicary.db", b"x" * 9999)), "cannot be read"),
        (fitting(of_the_future), "format 9"),
        (fitting(without(archive.HEAD)), "no backup of Formicary"),
        (fitting(with_file("../evil")), "'../evil' is nothing that a backup holds"),
        (fitting(with_file("master.key")), "nothing that a backup holds"),
        (fitting(with_file("logs/7/1-1.log")), "nothing that a backup holds"),
        (fitting(with_file("artifacts/objects/../../x")), "nothing that a backup holds"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(backup, tmp_path, change, why):
    path = remade(backup(), change)
    with pytest.raises(DamagedBackup, match=why):
        verify(path, say)
    with pytest.raises(DamagedBackup, match=why):
        restore(path, tmp_path / "restored", say)
    assert not (tmp_path / "restored").exists()
    assert not list(tmp_path.glob(".formicary-restore-*"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.XHDTYPE, tarfile.CHRTYPE])
def test_only_regular_files_are_unpacked(backup, tmp_path, kind):
    """T11."""
    path = backup.folder / "hostile.tar.gz"
    with open(path, "wb") as file, gzip.GzipFile("", "wb", 1, file, 0) as zipped:
        with tarfile.open(fileobj=zipped, mode="w|") as tar:
            member = tarfile.TarInfo(archive.HEAD)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
    with pytest.raises(DamagedBackup, match="no regular file"):
        restore(path, tmp_path / "restored", say)


async def test_folders_that_are_not_restored_to(kept, backup, tmp_path):
    """Nothing that is there is overwritten, and least of all a folder that is served."""
    made = backup()
    with pytest.raises(Conflict, match="not empty"):
        restore(made.path, tmp_path, say)
    (tmp_path / "file").write_text("x")
    with pytest.raises(SetupError, match="no folder"):
        restore(made.path, tmp_path / "file", say)
    store = open_store(kept.data)
    try:
        with pytest.raises(SetupError, match="in use by another"):
            restore(made.path, kept.data, say)
    finally:
        store.close()
    (tmp_path / "empty").mkdir()
    restore(made.path, tmp_path / "empty", say)
    assert (tmp_path / "empty" / FILE_NAME).is_file()


KILLED = """\
import os, signal, sys
from pathlib import Path
from formicary.runner.backup import restore
def die(folder, now):
    os.kill(os.getpid(), signal.SIGKILL)
restore.snapshot.begin_anew = die
restore.restore(Path(sys.argv[1]), Path(sys.argv[2]), lambda words: None)
"""


def test_killed_in_the_middle_there_is_no_data_folder(backup, tmp_path):
    """And the next restore clears away what is left."""
    made, data = backup(), tmp_path / "restored"
    done = subprocess.run([sys.executable, "-c", KILLED, str(made.path), str(data)], timeout=30)
    assert done.returncode == -signal.SIGKILL
    assert not data.exists()
    (left,) = tmp_path.glob(".formicary-restore-*")
    os.utime(left, (time.time() - 3600,) * 2)
    restore(made.path, data, say)
    assert (data / FILE_NAME).is_file()
    assert not left.exists()


def test_a_mount_point_is_filled_from_within(backup, tmp_path, monkeypatch):
    """A container's volume cannot be renamed: its database comes last."""
    data = tmp_path / "volume"
    (data / "lost+found").mkdir(parents=True)
    monkeypatch.setattr(restore_module.Path, "is_mount", lambda path: path == data)
    restore(backup().path, data, say)
    assert {path.name for path in data.iterdir()} == {"lost+found", "logs", "artifacts", FILE_NAME}


def test_a_disk_without_room_is_left_as_it_was(backup, tmp_path, monkeypatch):
    made = backup()
    monkeypatch.setattr(restore_module, "RESERVE", 1 << 60)
    with pytest.raises(WorldError, match="make room"):
        restore(made.path, tmp_path / "restored", say)
    assert not (tmp_path / "restored").exists()


def test_what_was_lost_before_does_not_stop_a_restore(kept, backup, tmp_path):
    path = next(path for path in (kept.data / "artifacts/objects").rglob(kept.digest.sha256[2:]))
    path.unlink()
    checked = restore(backup().path, tmp_path / "restored", say)
    assert list(checked.manifest.lost.values()) == ["artifact 1 ('out' of request 1)"]


def test_an_old_schema_is_restored_and_brought_up_to_date(kept, backup, tmp_path):
    """A backup of a program whose schema was version 3."""
    old = tmp_path / "old"
    old.mkdir()
    connection = sqlite3.connect(old / FILE_NAME, isolation_level=None)
    schema.MIGRATIONS.apply(Database(connection), stop_before="4 remote repositories")
    connection.execute("PRAGMA user_version = 3")
    connection.execute(
        "INSERT INTO repositories (organization_id, name, path, tracked_branch, visibility, state, error,"
        " synced_commit) VALUES ('default', 'app', '/srv/app', 'main', 'private', '', '', '')"
    )
    connection.close()
    kept.data.rename(tmp_path / "away")
    old.rename(kept.data)
    made = backup()
    assert made.manifest.schema_version == 3
    assert verify(made.path, say).contents.schema_version == 3
    restore(made.path, tmp_path / "restored", say)
    store = open_store(tmp_path / "restored")
    try:
        assert [one.name for one in store.read().repositories()] == ["app"]
    finally:
        store.close()


def test_a_newer_schema_is_refused(backup, tmp_path, monkeypatch):
    made = backup()
    monkeypatch.setattr("formicary.runner.store.snapshot.VERSION", made.manifest.schema_version - 1)
    with pytest.raises(DamagedBackup, match="install the Formicary that made it, or a newer one"):
        restore(made.path, tmp_path / "restored", say)
