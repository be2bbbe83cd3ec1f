"""What every object store promises; a new one is one more parameter."""

import hashlib
import io
import os
import stat
import subprocess
import sys
import threading
import time

import pytest
from buckets import open_store

from formicary.runner.artifacts import Digest, ObjectDamaged, ObjectMissing, copy
from formicary.runner.artifacts.directory import DirectoryStore


def directory(tmp_path):
    return DirectoryStore(tmp_path / "store")


@pytest.fixture(params=["directory", "s3"])
def store(request, tmp_path):
    if request.param == "directory":
        return directory(tmp_path)
    server = request.getfixturevalue("s3")
    return open_store(server, tmp_path / "scratch", server.bucket())


class Pipe(io.RawIOBase):
    """A stream that can be read once."""

    def __init__(self, data):
        self._inner = io.BytesIO(data)

    def readable(self):
        return True

    def read(self, size=-1):
        return self._inner.read(size)


def sha(data):
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("durable", [False, True])
def test_put_and_open(store, tmp_path, durable):
    data = os.urandom(3_000_000)
    assert store.put(io.BytesIO(data), durable=durable) == Digest(sha(data), len(data))
    path = tmp_path / "file"
    path.write_bytes(b"")
    assert store.put(path, durable=durable) == (sha(b""), 0)
    with store.open(sha(data)) as stream:
        assert stream.read() == data
    assert store.has(sha(data)) and store.has(sha(b""))


def test_a_stream_that_is_read_once(store):
    """Its digest is not known before its end."""
    data = os.urandom(6_000_000)
    assert store.put(Pipe(data)) == Digest(sha(data), len(data))
    with store.open(sha(data)) as stream:
        assert stream.read() == data


def test_reading_from_somewhere(store):
    """What a range of a download needs."""
    data = os.urandom(2_500_000)
    digest = store.put(io.BytesIO(data))
    with store.open(digest.sha256) as stream:
        stream.seek(2_000_000)
        assert stream.read(100) == data[2_000_000:2_000_100]
        stream.seek(10)
        assert stream.read(1_500_000) == data[10:1_500_010]
        stream.seek(0, os.SEEK_END)
        assert stream.read(10) == b""


def test_put_before(store):
    """What was put later stays: somebody has made it again."""
    digest = store.put(io.BytesIO(b"mine"))
    store.delete(digest.sha256, put_before=time.time() - 60)
    assert store.has(digest.sha256)
    store.delete(digest.sha256, put_before=time.time() + 60)
    assert not store.has(digest.sha256)
    store.delete(digest.sha256, put_before=time.time() + 60)


def test_putting_again_renews(store):
    """Its time is that of the last put."""
    store.put(io.BytesIO(b"again"))
    time.sleep(1.1)  # S3 counts in seconds
    before = time.time() - 0.1
    store.put(io.BytesIO(b"again"))
    store.delete(sha(b"again"), put_before=int(before))
    assert store.has(sha(b"again"))


def test_check(store, tmp_path):
    """It leaves nothing behind."""
    store.check()
    assert list(store.names.list("")) == [] and _files(tmp_path) == []


def test_the_same_bytes_are_one_object(store):
    assert store.put(io.BytesIO(b"twice")) == store.put(io.BytesIO(b"twice"))
    store.delete(sha(b"twice"))
    assert not store.has(sha(b"twice"))


def test_what_is_missing_is_said(store):
    for wrong in (sha(b"never"), "../../etc/passwd", "", "ab" * 40, sha(b"x").upper()):
        assert not wrong or not _has(store, wrong)
        with pytest.raises(ObjectMissing):
            store.open(wrong)
    store.delete(sha(b"never"))


def _has(store, wrong):
    try:
        return store.has(wrong)
    except ObjectMissing:
        return False


def test_copy_checks_the_digest(store, monkeypatch):
    """T4: content is checked against its digest when it is used."""
    digest = store.put(io.BytesIO(b"true"))
    target = io.BytesIO()
    assert copy(store, digest.sha256, target) == 4 and target.getvalue() == b"true"
    monkeypatch.setattr(type(store), "open", lambda self, sha256: io.BytesIO(b"lies"))
    with pytest.raises(ObjectDamaged, match="damaged"):
        copy(store, digest.sha256, io.BytesIO())


NAMES = [
    "cache/1/trusted/a",
    "cache/1/trusted/a/b",
    "cache/1/untrusted/a",
    "x.name",
    "a/../b",
    "a//b",
    "é/%2F",
    "k" * 999,
]


def test_names(store):
    digests = {name: store.put(io.BytesIO(name.encode())) for name in NAMES}
    for name, digest in digests.items():
        store.names.link(name, digest)
    for name, digest in digests.items():
        found = store.names.resolve(name)
        assert found is not None and (found.name, found.digest) == (name, digest)
    assert sorted(one.name for one in store.names.list("")) == sorted(NAMES)
    assert sorted(one.name for one in store.names.list("cache/1/tr")) == NAMES[:2]
    store.names.unlink("cache/1/trusted/a")
    assert store.names.resolve("cache/1/trusted/a") is None
    assert store.names.resolve("cache/1/trusted/a/b") is not None
    store.names.unlink("cache/1/trusted/a")


def test_the_last_link_wins(store):
    first, second = store.put(io.BytesIO(b"1")), store.put(io.BytesIO(b"2"))
    store.names.link("n", first)
    store.names.link("n", second)
    found = store.names.resolve("n")
    assert found is not None and found.digest == second
    assert store.names.resolve("never") is None and list(store.names.list("never")) == []


def test_a_failed_put_leaves_nothing(store, tmp_path):
    class Breaks(io.BytesIO):
        def read(self, size=-1):
            if self.tell():
                raise OSError("the disk is gone")
            return super().read(10)

    before = _files(tmp_path)
    with pytest.raises(OSError, match="disk is gone"):
        store.put(Breaks(b"x" * 100))
    assert _files(tmp_path) == before


def _files(root):
    return sorted(str(path) for path in root.rglob("*") if path.is_file())


def test_concurrent_puts_of_the_same_and_of_others(store):
    failures = []

    def work(number):
        try:
            for turn in range(30):
                data = f"{turn}".encode() * 1000
                digest = store.put(io.BytesIO(data))
                store.names.link(f"n/{turn}", digest)
                with store.open(digest.sha256) as stream:
                    assert stream.read() == data
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_directory_is_this_users_alone_and_read_only(tmp_path):
    store = directory(tmp_path)
    digest = store.put(io.BytesIO(b"secret"))
    path = tmp_path / "store" / "objects" / digest.sha256[:2] / digest.sha256[2:]
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700


def test_directory_beside_another_process(tmp_path):
    """`formicary run` shares the store with a server."""
    program = (
        "import io, pathlib, sys; from formicary.runner.artifacts.directory import DirectoryStore as S;"
        "s = S(pathlib.Path(sys.argv[1])); s.names.link('shared', s.put(io.BytesIO(b'from there')))"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "store")], check=True)
    store = directory(tmp_path)
    found = store.names.resolve("shared")
    assert found is not None
    with store.open(found.digest.sha256) as stream:
        assert stream.read() == b"from there"


def test_directory_forgives_a_torn_name(tmp_path):
    """A power cut may leave an empty name: it is as if it were not there."""
    store = directory(tmp_path)
    store.names.link("torn", store.put(io.BytesIO(b"x")))
    (tmp_path / "store" / "names" / "torn.name").write_bytes(b"")
    assert store.names.resolve("torn") is None and list(store.names.list("")) == []
