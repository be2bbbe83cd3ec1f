"""What a stranger installs: wheel and source archive, and the wheel in an environment of its own."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from servers import environment

from formicary.cli.run import read_tree

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
TOOLS = Path(sys.executable).parent


def call(*words, **options):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what git keeps, with its links, so that nothing of this checkout's leftovers gets in."""
    copy = tmp_path_factory.mktemp("checkout")
    listed = call(
        "git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT
    )
    for name in listed.split("\0"):
        if name and os.path.lexists(ROOT / name):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
    return copy


def build(folder, *words):
    """As `make dist` does it."""
    options = ["--quiet", "--offline", "--no-build-isolation", "--python", sys.executable, "--out-dir", folder / "dist"]
    call(TOOLS / "uv", "build", *options, *words, folder, cwd=folder)
    return folder / "dist"


@pytest.fixture(scope="module")
def dist(checkout):
    """The archive, and the wheel that was made from it."""
    return build(checkout)


def content(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")}


def test_the_archive_holds_what_it_must(dist):
    """The licence, the locks, the tests; nothing of git, and no link that leads into itself."""
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        members = archive.getmembers()
    names = {member.name.partition("/")[2] for member in members}
    assert [member.name for member in members if not (member.isfile() or member.isdir())] == []
    for name in ("LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "requirements.txt", "requirements-run.txt"):
        assert name in names
    for name in (
        "Makefile",
        "Dockerfile",
        "docs/cli.md",
        "docs/deploy/formicary.service",
        "tests/install/test_wheel.py",
    ):
        assert name in names
    examples = [path for path in EXAMPLES.glob(".formicary/**/*") if path.is_file()]
    assert {path.relative_to(ROOT).as_posix() for path in examples} <= names
    tops = {name.partition("/")[0] for name in names}
    assert tops & {".typing", ".git", ".ci", ".venv", "build", "dist"} == set()
    assert not [name for name in names if name.startswith("tests/ground/") or name.endswith(".pyc")]


def test_the_archive_makes_the_same_wheel_as_the_checkout(dist, checkout, tmp_path):
    """Nothing is forgotten in the archive: file by file, byte by byte."""
    shutil.copytree(checkout, tmp_path / "again", symlinks=True, ignore=shutil.ignore_patterns("dist", "build"))
    direct = build(tmp_path / "again", "--wheel")
    (one,), (other,) = dist.glob("*.whl"), direct.glob("*.whl")
    assert one.name == other.name
    assert content(one) == content(other)


@pytest.fixture(scope="module")
def installed(dist, tmp_path_factory):
    """The wheel in an environment of its own; what it needs is lent from ours, where it is locked."""
    folder = tmp_path_factory.mktemp("installed")
    call(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    (wheel,) = dist.glob("*.whl")
    python = folder / "venv" / "bin" / "python"
    call(TOOLS / "uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--python", python, wheel)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")  # its own .pth files are not read
    return folder / "venv" / "bin" / "formicary"


def test_it_is_the_installed_one(installed, tmp_path):
    """And not the checkout, which is importable here too."""
    code = "import formicary.cli.main as it; print(it.__file__)"
    assert str(installed.parents[1]) in call(installed.with_name("python"), "-c", code, cwd=tmp_path)
    assert call(installed, "--version", cwd=tmp_path).startswith("formicary ")
    call(installed.with_name("python"), "-m", "pip", "check", cwd=tmp_path)


#: Those that between them touch every file of data in the wheel; the others are for `make soak`.
QUICK = {"hello", "artifacts", "cache", "cleanup", "outputs", "templates"}


#: These ask for somebody at a terminal, another server, a secret; tests/examples gives it to them.
NOT_ALONE = {"approval", "http", "stored_secret"}


def example_jobs():
    for one in read_tree(EXAMPLES)[0]:
        if one.job_type in NOT_ALONE:
            continue
        given = {
            name: next(
                iter(one.definition.params[name].enum if name in one.definition.params else ()), "hunter2hunter2"
            )
            for name in one.definition.required_params
        }
        yield pytest.param(
            one.job_type,
            ["--on-host", *(f"--param={name}={value}" for name, value in given.items())],
            id=one.job_type,
            marks=() if one.job_type in QUICK else pytest.mark.soak,
        )


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The examples in a repository of their own, and folders that tasks' own users may pass through."""
    from repos import RepoBuilder

    repo = RepoBuilder(tmp_path_factory.mktemp("project") / "app")
    shutil.copytree(EXAMPLES / ".formicary", repo.path / ".formicary")
    repo.commit(message="the examples")
    return repo


@pytest.mark.parametrize(("job", "params"), list(example_jobs()))
def test_the_installed_one_runs_each_example(job, params, installed, project, tmp_path):
    done = subprocess.run(
        [installed, "run", job, *params, "--data", tmp_path / "data"],
        cwd=project.path, env=environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{job} COMPLETED" in done.stdout


def test_the_installed_one_serves(installed, project, serve, monkeypatch, tmp_path):
    """Pages, styles and SQL are in the wheel: the repository is watched, and its page is shown."""
    monkeypatch.setattr("servers.FORMICARY", [str(installed)])
    server = serve(tmp_path, "--repo", project.path, "--public", "--site", tmp_path / "site")
    assert server.get("/version")["version"]
    server.wait((tmp_path / "site" / "index.html").is_file)
    status, page = server.call("/")
    assert status == 200 and "app" in page
    assert server.stop() == 0
