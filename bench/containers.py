"""`make bench`, or with `--count 200`: what a task in a container costs beside `docker run`, on this machine.

floor     `docker run --rm IMAGE true`, one after the other (ms)
task      a whole job of one DOCKER task, from the request to its end, one after the other (ms), as often
at once   so many such jobs at the same time (s in all)
left      what is on the engine after, that was not there before: nothing

Both runs alternate, so that what slows the machine down slows both. The image is a static busybox, made here.
"""

from __future__ import annotations

import argparse
import io
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
from run import house, one

IMAGE = "formicary-bench:1"
TARGET_MS = 150.0
JOBS = f"""\
job_type: boxed
max_concurrency: 1000
tasks:
  - task_type: only
    checkout: false
    container: {{image: "{IMAGE}"}}
    script: ["true"]
"""


def docker(*words: str, given: bytes | None = None) -> str:
    return subprocess.run(["docker", *words], input=given, check=True, capture_output=True).stdout.decode().strip()


@contextmanager
def image() -> Iterator[None]:
    busybox = shutil.which("busybox")
    if busybox is None:
        sys.exit("There is no busybox; on Debian: apt-get install busybox-static")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(Path(busybox).resolve(), "bin/busybox")
        for name in ("sh", "true", "kill", "sleep", "cat"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    docker("import", "-", IMAGE, given=buffer.getvalue())
    try:
        yield
    finally:
        docker("rmi", IMAGE)


def there() -> set[str]:
    """Everything on the engine that a task could leave: containers, networks, volumes."""
    listed = [docker("ps", "-aq", "--no-trunc"), docker("network", "ls", "-q"), docker("volume", "ls", "-q")]
    return set("\n".join(listed).split())


def floor() -> float:
    began = time.perf_counter()
    docker("run", "--rm", IMAGE, "true")
    return (time.perf_counter() - began) * 1000


async def measure(count: int, at_once: int) -> bool:
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="formicary-bench-") as folder:
        async with house(Path(folder), "200000-265535", jobs=JOBS, hands=at_once) as opened:
            before = there()
            for _ in range(3):
                await one(opened, "boxed")
            floors, tasks = [], []
            for _ in range(count):
                floors.append(await anyio.to_thread.run_sync(floor))
                tasks.append((await one(opened, "boxed"))[1])
            began = time.perf_counter()
            async with anyio.create_task_group() as group:
                for _ in range(at_once):
                    group.start_soon(one, opened, "boxed")
            together = time.perf_counter() - began
            failed = [request.id for request in opened.store.read().requests().records if request.state != "COMPLETED"]
            left = there() - before
    over = statistics.median(tasks) - statistics.median(floors)
    for name, found in (("floor", floors), ("task", tasks)):
        print(f"{name:8} {statistics.median(found):7.1f} ms median, {statistics.quantiles(found, n=10)[-1]:.1f} p90")
    print(f"over     {over:7.1f} ms, the target {TARGET_MS:g}")
    print(f"at once  {together:7.2f} s for {at_once}")
    print(f"left     {len(left)}; failed {len(failed)}")
    return over <= TARGET_MS and not left and not failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--at-once", type=int, default=20)
    parser.add_argument("--check", action="store_true", help="exit 1 where a target is missed")
    given = parser.parse_args()
    if shutil.which("docker") is None or subprocess.run(["docker", "info"], capture_output=True).returncode:
        print("There is no container engine here, or no `docker` to compare with: nothing is measured.")
        return 1 if given.check else 0
    with image():
        good = anyio.run(measure, given.count, given.at_once)
    return 1 if given.check and not good else 0


if __name__ == "__main__":
    sys.exit(main())
