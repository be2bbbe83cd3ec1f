"""An S3 server that refuses, dies, comes back, or is cut off in the middle."""

import hashlib
import io
import os
import socket
from contextlib import closing

import pytest
from buckets import SECRET, open_store

from formicary.runner.artifacts import copy
from formicary.runner.core.errors import SetupError, WorldError


def test_wrong_keys_and_no_bucket_are_the_operators(s3, tmp_path):
    """With the remedy; nothing is tried again."""
    bucket = s3.bucket()
    for keys in ({"access": "nobody"}, {"secret": "wrong"}, {"access": "reader", "secret": SECRET}):
        with pytest.raises(SetupError, match="FORMICARY_S3_ACCESS_KEY"):
            open_store(s3, tmp_path, bucket, **keys).put(io.BytesIO(b"x"))
    missing = open_store(s3, tmp_path, "no-such-bucket")
    for verb in (missing.check, lambda: missing.put(io.BytesIO(b"x")), lambda: list(missing.names.list(""))):
        with pytest.raises(SetupError, match="no bucket no-such-bucket"):
            verb()


def test_one_who_may_only_read_is_told_so(s3, tmp_path):
    """`check` writes."""
    with pytest.raises(SetupError, match="what they may do"):
        open_store(s3, tmp_path, s3.bucket(), access="reader").check()


def test_nothing_and_something_else_at_the_address(tmp_path):
    """A closed port, and a server that speaks no S3: wait and retry, for it may be a proxy that starts."""

    class Nowhere:
        @staticmethod
        def address(bucket, prefix, endpoint):
            return f"s3://{bucket}/{prefix}?endpoint={endpoint}&secure=false"

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        mute = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(WorldError, match=r"cannot be reached \(.*timed out"):
            open_store(Nowhere, tmp_path, "bucket", endpoint=mute, connect=0.2, read=0.2).check()
    with pytest.raises(WorldError, match=r"cannot be reached \(.*refused"):
        open_store(Nowhere, tmp_path, "bucket", endpoint=mute).check()


def test_a_download_goes_on_where_it_was_cut(s3, cutting, tmp_path):
    """Byte for byte, and checked."""
    bucket, data = s3.bucket(), os.urandom(9_000_000)
    sha = open_store(s3, tmp_path, bucket).put(io.BytesIO(data)).sha256
    store = open_store(s3, tmp_path, bucket, endpoint=cutting.endpoint)
    cutting.cuts = [1_500_000, 3_000_000]
    got = io.BytesIO()
    assert copy(store, sha, got) == len(data) and got.getvalue() == data
    assert cutting.cut == 2


def test_a_download_that_is_always_cut_fails(s3, cutting, tmp_path):
    """It does not hang and gives no half."""
    bucket, data = s3.bucket(), os.urandom(4_000_000)
    sha = open_store(s3, tmp_path, bucket).put(io.BytesIO(data)).sha256
    cutting.cuts = [4_000] * 50
    with pytest.raises(WorldError, match="cannot be reached"):
        copy(open_store(s3, tmp_path, bucket, endpoint=cutting.endpoint), sha, io.BytesIO())


def test_a_put_that_is_cut_shows_nothing(s3, cutting, tmp_path):
    """Nobody sees an object before it is whole; asked again, it is put."""
    bucket, data = s3.bucket(), os.urandom(12_000_000)
    store = open_store(s3, tmp_path, bucket, endpoint=cutting.endpoint)
    sha = hashlib.sha256(data).hexdigest()
    cutting.cuts = [1] * 50
    with pytest.raises(WorldError):
        store.put(io.BytesIO(data))
    assert s3.contents(bucket) == {}
    cutting.cuts.clear()
    assert store.put(io.BytesIO(data)).sha256 == sha
    assert list(s3.contents(bucket).values()) == [data]


def test_what_changes_while_it_is_put_is_not_put(s3, tmp_path):
    """A key of objects never gets bytes that it does not name."""

    class Fickle(io.BytesIO):
        turn = 0

        def seek(self, offset, whence=0):
            self.turn += 1
            self.getbuffer()[-1:] = b"%d" % (self.turn % 10)
            return super().seek(offset, whence)

    bucket = s3.bucket()
    for size in (100, 12_000_000):
        with pytest.raises(WorldError, match="was changed"):
            open_store(s3, tmp_path, bucket).put(Fickle(b"x" * size))
    assert s3.contents(bucket) == {}


def test_a_presigned_download(s3, tmp_path):
    """T15: whoever has the URL gets an attachment, of a type that nothing runs; a URL that was changed gets nothing."""
    import urllib3

    store = open_store(s3, tmp_path, s3.bucket())
    digest = store.put(io.BytesIO(b"<script>"))
    url = store.presigned(digest.sha256, 60, "ünder <x>.html")
    with urllib3.PoolManager() as pool:
        answer = pool.request("GET", url)
        assert (answer.status, answer.data) == (200, b"<script>")
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"] == "attachment; filename*=utf-8''%C3%BCnder%20%3Cx%3E.html"
        assert pool.request("GET", url.replace("octet-stream", "html")).status == 403


def test_a_name_that_no_bucket_can_hold(s3, tmp_path):
    """Refused with a sentence."""
    store = open_store(s3, tmp_path, s3.bucket())
    with pytest.raises(Exception, match="too long for a bucket"):
        store.names.resolve("/".join(["part"] * 300))
