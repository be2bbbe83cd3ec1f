"""Artifacts from one task to the next, and caches from one run to the next."""

import io
import subprocess

import pytest

from formicary.ant import globs
from formicary.ant.uids import default_range
from formicary.runner.artifacts import Digest
from formicary.runner.core.definition import Artifacts, Cache
from formicary.runner.core.errors import ERR_ARTIFACT
from formicary.runner.core.execution import ArtifactRef
from formicary.runner.core.messages import Input

RANGE = default_range()
MODES = [None, RANGE] if RANGE else [None]
as_root = pytest.mark.skipif(RANGE is None, reason="needs root: untrusted tasks run as users of their own")
MAKE = "mkdir -p dist/sub; echo a > dist/a.txt; echo b > dist/sub/b.txt; "
MAKE += "printf '#!/bin/sh\\necho ran' > tool; chmod +x tool"


@pytest.fixture(params=MODES, ids=lambda mode: "own-uid" if mode else "ants-user")
def uid_range(request):
    return request.param


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*.txt", ["a.txt", ".txt"], ["d/a.txt", "atxt"]),
        ("**/*.txt", ["a.txt", "d/a.txt", "d/e/a.txt"], ["a.text"]),
        ("dist/**", ["dist/a", "dist/b/c"], ["dist", "other/a"]),
        ("a/**/z", ["a/z", "a/b/z", "a/b/c/z"], ["az", "a/bz"]),
        ("[a-c]?[!x]", ["bzy"], ["dzy", "bzx", "b/y"]),
        ("a.b+c(d)", ["a.b+c(d)"], ["aXb+c(d)"]),
        ("[", ["["], ["a"]),
    ],
)
def test_globs(pattern, yes, no):
    matches = globs.matcher(pattern).fullmatch
    assert all(matches(path) for path in yes) and not any(matches(path) for path in no)


async def test_from_one_task_to_the_next(colony, an_order, uid_range):
    paths = ("dist", "dist/*.txt", "tool", "dist/**/*.txt", "nothing/*")
    first = an_order("SHELL", script=(MAKE,), artifacts=Artifacts(paths=paths))
    report = await colony.do(first, uid_range=uid_range)
    refs = report.result.artifacts
    assert [(ref.name, ref.kind, ref.executable) for ref in refs] == [
        ("dist", "tar", False),
        ("dist/a.txt", "file", False),
        ("tool", "file", True),
        ("dist/**/*.txt", "tar", False),
    ]
    assert report.result.warnings == ("artifacts: 'nothing/*' matches nothing.",)
    assert [ref.number for ref in refs] == [1, 2, 3, 4]

    again = await colony.do(an_order("SHELL", script=("sleep 0.01; " + MAKE,), artifacts=Artifacts(paths=paths)))
    assert again.result.artifacts == refs, "the same files give the same bytes"

    inputs = tuple(Input(task_type="t", artifact=ref) for ref in (refs[0], refs[2]))
    script = "./tool; cat dist/a.txt dist/sub/b.txt; echo more >> dist/a.txt; touch dist/new"
    second = an_order("SHELL", script=(script,), order={"inputs": inputs})
    report = await colony.do(second, uid_range=uid_range)
    assert report.result.exit_code == 0
    assert colony.desk.raw(second.task_execution_id) == b"ran\na\nb\n"


async def test_working_dir_and_exclude(colony, an_order):
    script = "mkdir -p pkg/dist/sub; cd pkg; touch dist/a dist/b.log dist/sub/c"
    order = an_order(
        "SHELL", script=(script,), artifacts=Artifacts(paths=("pkg/dist",), exclude=("pkg/**/*.log", "pkg/dist/sub"))
    )
    (ref,) = (await colony.do(order)).result.artifacts
    with colony.objects.open(ref.digest) as stream:
        data = stream.read()
    assert b"pkg/dist/a\0" in data and b"b.log" not in data and b"sub" not in data


@pytest.mark.parametrize(
    ("when", "code", "kept"),
    [
        ("onSuccess", 0, 1),
        ("onSuccess", 1, 0),
        ("onFailure", 0, 0),
        ("onFailure", 1, 1),
        ("always", 0, 1),
        ("always", 1, 1),
    ],
)
async def test_when(colony, an_order, when, code, kept):
    order = an_order("SHELL", script=(f"touch a; exit {code}",), artifacts=Artifacts(paths=("a",), when=when))
    report = await colony.do(order)
    assert report.result.exit_code == code and len(report.result.artifacts) == kept


async def test_what_a_task_cannot_keep(colony, an_order, uid_range):
    """T19: a link is no way to read what the task may not."""
    secret = colony.folder / "master.key"
    secret.write_text("the key")
    secret.chmod(0o600)
    script = (
        f"ln -s {secret} key; ln -s {colony.folder} folder; mkdir d; ln -s {secret} d/key; mkfifo d/pipe; touch d/ok"
    )
    order = an_order("SHELL", script=(script,), artifacts=Artifacts(paths=("key", "folder/master.key", "folder", "d")))
    report = await colony.do(order, uid_range=uid_range)
    (ref,) = report.result.artifacts
    with colony.objects.open(ref.digest) as stream:
        data = stream.read()
    assert b"the key" not in data and b"d/ok" in data
    assert any("2 links or special files" in text for text in report.result.warnings)
    assert sum("matches nothing" in text for text in report.result.warnings) == 3


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x"])
async def test_paths_out_of_the_workspace_fail_the_task(colony, an_order, path):
    report = await colony.do(an_order("SHELL", script=("true",), artifacts=Artifacts(paths=(path,))))
    assert report.result.error_code == ERR_ARTIFACT and "workspace" in report.result.error_message


async def test_an_artifact_that_is_gone_or_damaged(colony, an_order):
    """T4, D12: gone is a failure that no retry mends, damaged is ours."""
    gone = Input(task_type="a", artifact=ArtifactRef(name="x", digest="0" * 64, size=1))
    order = an_order("SHELL", script=("echo must not run",), after_script=("echo nor this",), order={"inputs": (gone,)})
    report = await colony.do(order)
    assert report.result.error_code == ERR_ARTIFACT and colony.desk.raw(order.task_execution_id) == b""

    digest = colony.objects.put(io.BytesIO(b"true"))
    path = colony.folder / "objects" / "objects" / digest.sha256[:2] / digest.sha256[2:]
    path.chmod(0o600)
    path.write_bytes(b"lies")
    damaged = Input(task_type="a", artifact=ArtifactRef(name="x", digest=digest.sha256, size=4))
    assert (await colony.do(an_order("SHELL", order={"inputs": (damaged,)}))).kind == "LOST"


CACHE = Cache(key="deps", paths=("cache",))
FILL = "cat cache/f 2>/dev/null || :; mkdir -p cache; echo {} > cache/f"


async def cached(colony, an_order, content, cache=CACHE, **order):
    made = an_order("SHELL", script=(FILL.format(content),), cache=(cache,), order=order)
    report = await colony.do(made, uid_range=RANGE)
    assert report.result.exit_code == 0
    return colony.desk.raw(made.task_execution_id).decode().strip()


async def test_cache_from_one_run_to_the_next(colony, an_order):
    assert await cached(colony, an_order, "one") == ""
    assert await cached(colony, an_order, "two") == "one"
    assert await cached(colony, an_order, "three") == "one", "an exact hit is not saved again"
    assert await cached(colony, an_order, "x", CACHE.model_copy(update={"key": "other"})) == ""


@pytest.mark.parametrize(
    ("script", "word"),
    [
        ("mkdir cache; touch cache/f; ln -s f cache/link", "downloads of your package manager"),
        ("mkdir cache; touch cache/pyvenv.cfg", "PIP_CACHE_DIR"),
        ("true", "match nothing"),
    ],
)
async def test_half_a_cache_is_not_kept(colony, an_order, script, word):
    """What would break the next run is not brought to it, and the log says what to keep instead."""
    report = await colony.do(an_order("SHELL", script=(script,), cache=(CACHE,)))
    assert report.result.exit_code == 0 and any(word in text for text in report.result.warnings)
    assert all("nothing was kept" in text for text in report.result.warnings)
    assert await cached(colony, an_order, "one") == "", "nothing was brought"


@as_root
async def test_caches_are_scoped_by_repository_and_trust(colony, an_order):
    """T3, T4: untrusted runs never write what trusted runs read, nor one repository what another reads."""
    assert await cached(colony, an_order, "poison", trusted=False) == ""
    assert await cached(colony, an_order, "poison", cache_scope="another") == ""
    assert await cached(colony, an_order, "poison", cache_scope="") == ""
    assert await cached(colony, an_order, "good") == ""
    assert await cached(colony, an_order, "x", trusted=False) == "poison"
    assert await cached(colony, an_order, "x") == "good"


async def test_policies_fallbacks_and_expiry(colony, an_order):
    pull = CACHE.model_copy(update={"policy": "pull"})
    assert await cached(colony, an_order, "never", pull) == ""
    assert await cached(colony, an_order, "one") == ""
    push = CACHE.model_copy(update={"policy": "push"})
    assert await cached(colony, an_order, "two", push) == ""
    assert await cached(colony, an_order, "x", pull) == "two"
    fallback = CACHE.model_copy(update={"key": "deps-new", "fallback_keys": ("none", "de")})
    assert await cached(colony, an_order, "three", fallback) == "two"
    assert await cached(colony, an_order, "x", fallback) == "three"
    assert await cached(colony, an_order, "x", CACHE.model_copy(update={"expires_after": 0.0, "policy": "pull"})) == ""


async def test_nothing_is_kept_of_a_failure_and_key_paths_count(colony, an_order):
    failing = an_order("SHELL", script=("mkdir cache; touch cache/f; exit 1",), cache=(CACHE,))
    await colony.do(failing)
    assert list(colony.objects.names.list("cache/")) == []
    locked = CACHE.model_copy(update={"key_paths": ("lock*",)})
    tree = colony.folder / "tree"
    tree.mkdir()
    source = {"source": {"kind": "tree", "path": str(tree)}}
    subprocess.run(["git", "init", "-q", str(tree)], check=True)
    (tree / "lockfile").write_text("1")
    assert await cached(colony, an_order, "one", locked, **source) == ""
    assert await cached(colony, an_order, "x", locked, **source) == "one"
    (tree / "lockfile").write_text("2")
    assert await cached(colony, an_order, "x", locked, **source) == ""


async def test_the_object_of_a_cache_is_its_own(colony, an_order):
    """An artifact of the same files may be deleted without the cache, and a cache that is replaced is deleted."""
    script, push = ("mkdir cache; echo {} > cache/f",), CACHE.model_copy(update={"policy": "push"})
    stored = set()
    for content in ("one", "two"):
        lines = tuple(line.format(content) for line in script)
        order = an_order("SHELL", script=lines, cache=(push,), artifacts=Artifacts(paths=("cache",)))
        (ref,) = (await colony.do(order)).result.artifacts
        (name,) = colony.objects.names.list("cache/")
        assert name.digest.sha256 != ref.digest
        colony.objects.delete(ref.digest)
        stored.add(name.digest.sha256)
    assert [colony.objects.has(sha256) for sha256 in sorted(stored)].count(True) == 1
    assert await cached(colony, an_order, "x") == "two"


async def test_a_damaged_cache_is_a_miss(colony, an_order):
    """T4."""
    await cached(colony, an_order, "one")
    (name,) = colony.objects.names.list("cache/")
    colony.objects.names.link(name.name, Digest(colony.objects.put(io.BytesIO(b"no tar")).sha256, 6))
    assert await cached(colony, an_order, "two") == ""
    assert await cached(colony, an_order, "x") == "two"
