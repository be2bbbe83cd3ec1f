"""`make bench`: what a job costs beside the raw floor, measured in one run of this machine.

floor    `sh -c true` from 4 threads, processes a second
idle     one trivial job at a time: request → its first line in the log, request → finished (ms, median and p90)
burst    1,000 trivial jobs at concurrency 4: jobs a second, share of the floor, CPU ms a job (queen, ant and sh)
log      200,000 lines of 80 bytes: seconds beside the same command into a pipe, and whether the bytes are equal

As root both uid modes are measured: tasks with users of their own, and tasks as root. `--check` fails over the targets.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskStatus

from formicary.cli.house import House, open_house
from formicary.cli.outside import outside
from formicary.cli.settings import read_settings
from formicary.runner.core.records import Repository
from formicary.runner.core.states import TERMINAL
from formicary.runner.queen.ask import Ask

HANDS = 4
LINES, WIDTH = 200_000, 80
PRINT = f"awk 'BEGIN {{ for (i = 0; i < {LINES}; i++) printf \"%0{WIDTH - 1}d\\n\", i }}'"
JOBS = f"""\
job_type: trivial
max_concurrency: {HANDS}
tasks:
  - task_type: only
    checkout: false
    script: ["echo hello"]
---
job_type: chatty
tasks:
  - task_type: only
    checkout: false
    script: ["{PRINT.replace('"', chr(92) + '"').replace(chr(92) + "n", chr(92) * 2 + "n")}"]
"""
TARGETS = {"first_line_ms": 15.0, "finished_ms": 20.0, "share_of_floor": 0.12, "cpu_ms": 7.0, "log_ratio": 1.5}


def floor(count: int = 1000, threads: int = HANDS) -> float:
    """Processes a second of `sh -c true` from `threads` threads."""

    def work() -> None:
        for _ in range(count // threads):
            subprocess.run(["sh", "-c", "true"], check=True)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return count / (time.perf_counter() - began)


def raw_log() -> tuple[float, bytes]:
    """Seconds and bytes of the chatty command alone, through a pipe into a file."""
    with tempfile.TemporaryFile() as file:
        began = time.perf_counter()
        with subprocess.Popen(["sh", "-c", PRINT], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            while data := process.stdout.read1(1 << 20):  # type: ignore[union-attr]
                file.write(data)
        took = time.perf_counter() - began
        file.seek(0)
        return took, file.read()


def cpu_seconds() -> float:
    """CPU of this process, its hands, and all that these have run."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    total = own.ru_utime + own.ru_stime
    tick = os.sysconf("SC_CLK_TCK")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == os.getpid():
                total += sum(map(int, fields[11:15])) / tick
    return total


@asynccontextmanager
async def house(folder: Path, uids: str, jobs: str = JOBS, hands: int = HANDS) -> AsyncIterator[House]:
    repository = folder / "repo"
    (repository / ".formicary").mkdir(parents=True)
    (repository / ".formicary" / "bench.yml").write_text(jobs)
    git = ["git", "-c", "user.name=bench", "-c", "user.email=bench@example.org"]
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "bench"]):
        subprocess.run([*git, *words], cwd=repository, check=True)
    settings = read_settings(
        {"data": str(folder / "data"), "hands": hands, "task_uids": uids or None}, environment={}, folder=folder
    )
    if not uids:
        settings = settings.model_copy(update={"task_uids": ""})
    async with open_house(settings, state=settings.data, outside=outside) as opened:  # as `serve` does
        await opened.start()
        stored = await opened.reconciler.add(Repository(id=0, name="bench", path=str(repository)))
        await opened.reconciler.sync(stored.id)
        yield opened
        opened.group.cancel_scope.cancel()


async def one(opened: House, job: str) -> tuple[float, float, int]:
    """(ms to the first line, ms to the end, request id) of one job on the idle house."""
    with opened.queen.changes.subscribe() as news:
        began, first = time.perf_counter(), 0.0
        request, _ = await opened.queen.submit(Ask(job_type=job))
        while True:
            change = await news.next()
            if change.kind == "log" and not first and b" out " in opened.logs.read(change.task_execution_id):
                first = time.perf_counter() - began
            if change.kind == "request" and change.request_id == request.id and change.state in TERMINAL:
                return first * 1000, (time.perf_counter() - began) * 1000, request.id


async def idle(opened: House, count: int) -> dict[str, float]:
    firsts, ends = [], []
    for number in range(count + 5):
        first, end, _ = await one(opened, "trivial")
        if number >= 5:
            firsts.append(first)
            ends.append(end)
        await anyio.sleep(0.02)
    return {
        "first_line_ms": statistics.median(firsts),
        "first_line_p90_ms": statistics.quantiles(firsts, n=10)[-1],
        "finished_ms": statistics.median(ends),
        "finished_p90_ms": statistics.quantiles(ends, n=10)[-1],
    }


async def burst(opened: House, count: int) -> dict[str, float]:
    before, began = cpu_seconds(), time.perf_counter()
    async with anyio.create_task_group() as group:
        await group.start(count_ends, opened, count)
        for _ in range(HANDS):
            group.start_soon(submit, opened, count // HANDS)
    took = time.perf_counter() - began
    return {"jobs_a_second": count / took, "cpu_ms": (cpu_seconds() - before) / count * 1000}


async def submit(opened: House, count: int) -> None:
    """One of those who ask, one request after the other."""
    for _ in range(count):
        await opened.queen.submit(Ask(job_type="trivial"))


async def count_ends(opened: House, count: int, *, task_status: TaskStatus[None]) -> None:
    """Return once so many requests have ended."""
    with opened.queen.changes.subscribe() as news:
        task_status.started()
        while count:
            change = await news.next()
            assert change.kind != "missed", "the counter is quick enough"
            count -= change.kind == "request" and change.state in TERMINAL


async def log(opened: House, rounds: int = 5) -> dict[str, float]:
    ratios, seconds, equal = [], [], True
    for _ in range(rounds):
        raw, expected = raw_log()
        _, end, request_id = await one(opened, "chatty")
        request = opened.store.read().request(request_id)
        assert request is not None
        frames = opened.logs.frames(f"{request.execution_id}-1")
        equal &= b"".join(frame.data for frame in frames if frame.stream == "out") == expected
        ratios.append(end / 1000 / raw)
        seconds.append(end / 1000)
    return {
        "log_seconds": statistics.median(seconds),
        "log_ratio": statistics.median(ratios),
        "log_equal": float(equal),
    }


async def measure(uids: str, jobs: int, samples: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="formicary-bench-") as folder:
        async with house(Path(folder), uids) as opened:
            found: dict[str, Any] = await idle(opened, samples)
            found["floor_a_second"] = floor()
            found |= await burst(opened, jobs)
            found["share_of_floor"] = found["jobs_a_second"] / found["floor_a_second"]
            found |= await log(opened)
    return found


def modes() -> dict[str, str]:
    """Name of a uid mode → its `task_uids`."""
    if os.geteuid() != 0:
        return {"as this user": ""}
    return {"root, a user a task": "200000-265535", "root, tasks as root": ""}


def missed(found: dict[str, Any]) -> list[str]:
    better: dict[str, Callable[[float, float], bool]] = {"share_of_floor": lambda value, target: value >= target}
    out = [
        f"{name} is {found[name]:.2f}, the target {target}"
        for name, target in TARGETS.items()
        if not better.get(name, lambda value, target: value <= target)(found[name], target)
    ]
    return out if found["log_equal"] else [*out, "the log's bytes differ"]


def show(mode: str, found: dict[str, Any]) -> None:
    print(f"\n{mode}")
    print(f"  floor     {found['floor_a_second']:7.0f} processes/s  (sh -c true, {HANDS} threads)")
    print(f"  first     {found['first_line_ms']:7.1f} ms median, {found['first_line_p90_ms']:.1f} p90")
    print(f"  finished  {found['finished_ms']:7.1f} ms median, {found['finished_p90_ms']:.1f} p90")
    print(f"  burst     {found['jobs_a_second']:7.0f} jobs/s = {found['share_of_floor']:.1%} of the floor")
    print(f"  CPU       {found['cpu_ms']:7.2f} ms a job")
    print(f"  log       {found['log_seconds']:7.3f} s = {found['log_ratio']:.2f} x raw, ", end="")
    print("bytes equal" if found["log_equal"] else "BYTES DIFFER")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--check", action="store_true", help="exit 1 where a target is missed")
    given = parser.parse_args()
    results = {}
    for mode, uids in modes().items():
        results[mode] = anyio.run(measure, uids, given.jobs, given.samples)
        show(mode, results[mode])
    if given.json:
        given.json.write_text(json.dumps({"cores": os.cpu_count(), "results": results}, indent=2) + "\n")
    complaints = [f"{mode}: {text}" for mode, found in results.items() for text in missed(found)]
    print("\n" + "\n".join(complaints or ["every target is met"]))
    return 1 if complaints and given.check else 0


if __name__ == "__main__":
    sys.exit(main())
