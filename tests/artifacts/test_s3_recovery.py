"""An S3 server that is killed and started again."""

import io
import os

import pytest
from buckets import open_store

from formicary.runner.artifacts import copy
from formicary.runner.core.errors import WorldError


def test_a_server_that_dies_and_comes_back(mortal_s3, tmp_path):
    """Every verb waits and is tried again; what was there is there."""
    store = open_store(mortal_s3, tmp_path / "scratch", mortal_s3.bucket())
    data = os.urandom(6_000_000)
    digest = store.put(io.BytesIO(data))
    store.names.link("n", digest)
    half_read = store.open(digest.sha256)
    assert half_read.read(10) == data[:10]
    mortal_s3.kill()
    for verb in (
        lambda: store.put(io.BytesIO(data)),
        lambda: store.has(digest.sha256),
        lambda: store.open(digest.sha256),
        lambda: store.delete(digest.sha256),
        lambda: store.names.resolve("n"),
        lambda: list(store.names.list("")),
        lambda: store.names.link("n", digest),
        lambda: store.names.unlink("n"),
        store.check,
    ):
        with pytest.raises(WorldError, match="cannot be reached"):
            verb()
    mortal_s3.start()
    with half_read:
        assert data[10:].endswith(half_read.read()), "it goes on where it was"
    assert copy(store, digest.sha256, io.BytesIO()) == len(data)
    assert store.names.resolve("n").digest == store.put(io.BytesIO(data))
