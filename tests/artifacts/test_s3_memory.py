"""A large artifact is put and read in little memory: measured in a process of its own."""

import subprocess
import sys

import pytest
from buckets import ACCESS, SECRET

MIB = 1 << 20
PROGRAM = """
import hashlib, io, sys, time
from pathlib import Path
from formicary.runner.artifacts import copy
from formicary.runner.artifacts.address import Keys, address_of
from formicary.runner.artifacts.bucket import Bucket
from formicary.runner.artifacts.s3 import S3Store

address, access, secret, scratch, size = sys.argv[1:]

class Made(io.RawIOBase):
    # so many bytes that do not repeat soon, read once
    left, block = int(size), hashlib.shake_128(b"x").digest(1 << 20)
    def readable(self): return True
    def read(self, size=-1):
        data = self.block[: min(size, self.left)]
        self.left -= len(data)
        self.block = self.block[1:] + self.block[:1]
        return data

class Nowhere:
    def write(self, data): return len(data)

store = S3Store(Bucket(address_of(address), Keys(access, secret)), Path(scratch))
start = time.monotonic()
digest = store.put(Made())
put = time.monotonic() - start
assert digest.size == int(size)
assert copy(store, digest.sha256, Nowhere()) == int(size)
store.delete(digest.sha256)
# ru_maxrss would count what the process that started this one held
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) // 1024
print(peak, f"{put:.1f} s put, {time.monotonic() - start - put:.1f} s read")
"""


def measured(s3, folder, size):
    """Most MiB that were resident, and what was said."""
    words = [s3.address(s3.bucket(), "big"), ACCESS, SECRET, str(folder), str(size)]
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    peak, _, said = done.stdout.partition(" ")
    return int(peak), said


def test_memory_does_not_grow_with_the_artifact(s3, tmp_path):
    """The scaled form: 20 MiB and 160 MiB take the same."""
    small, _ = measured(s3, tmp_path, 20 * MIB)
    large, said = measured(s3, tmp_path, 160 * MIB)
    assert large < small + 30, said
    assert large < 150


@pytest.mark.soak
def test_a_gibibyte_in_150_mebibytes(s3, tmp_path):
    """The whole."""
    peak, said = measured(s3, tmp_path, 1024 * MIB)
    print(f"1 GiB: {peak} MiB resident, {said}")
    assert peak < 150
