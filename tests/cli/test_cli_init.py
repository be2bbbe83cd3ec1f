"""`formicary init`: what it finds, what it writes, and what it never overwrites."""

import json
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formicary.cli.firstfile import names_of, text_of
from formicary.cli.languages import MOST, look
from formicary.cli.project import READ, Folder
from formicary.runner.core.load import load

PROJECT = '[project]\nname = "a"\nversion = "1"\n'
EXTRA = PROJECT + '[project.optional-dependencies]\ntest = ["pytest"]\n[dependency-groups]\ndev = ["ruff"]\n'
SCRIPTS = json.dumps({"scripts": {"test": "node --test", "lint": "x", "start": "y"}, "dependencies": {"a": "1"}})
BARE_NPM = json.dumps({"scripts": {"test": 'echo "Error: no test specified" && exit 1'}})
LOCKED = '[[package]]\nname = "a"\nsource = "registry+x"\n'


def found(files):
    """What is found in files of these names and texts."""
    return look(Folder(frozenset(files), files))


def script_of(files):
    (find,) = found(files)
    return list(find.script)


@pytest.mark.parametrize(
    ("files", "last"),
    [
        ({"a.py": "", "test_a.py": ""}, "python3 -m unittest discover"),
        ({"a.py": "", "tests/test_a.py": ""}, "python3 -m unittest discover -s tests"),
        ({"tests/__init__.py": "", "tests/test_a.py": ""}, "python3 -m unittest discover"),
        ({"a.py": ""}, "python3 -m compileall -q ."),
        ({"src/a.py": ""}, "python3 -m compileall -q ."),
        ({"pyproject.toml": PROJECT}, ".venv/bin/python -m compileall -q -x '[.]venv' ."),
        ({"requirements.txt": "a", "test_a.py": ""}, ".venv/bin/python -m unittest discover"),
        ({"pyproject.toml": EXTRA}, ".venv/bin/python -m pytest"),
        ({"requirements.txt": "a", "tests/conftest.py": ""}, ".venv/bin/python -m pytest"),
        ({"requirements-dev.txt": "pytest==9", "test_a.py": ""}, ".venv/bin/python -m pytest"),
        ({"tox.ini": "[tox]", "setup.py": ""}, ".venv/bin/python -m tox run -e py"),
        ({"setup.cfg": "[tox:tox]\n"}, ".venv/bin/python -m tox run -e py"),
        ({"pyproject.toml": "not = [toml"}, "python3 -m compileall -q ."),
        ({"package.json": SCRIPTS}, "npm test"),
        ({"package.json": BARE_NPM, "index.js": ""}, "node --check index.js"),
        ({"package.json": "{}", "lib/a.test.js": ""}, "node --test"),
        ({"package.json": '{"main": "./x y.js"}', "x y.js": ""}, "npm pack --dry-run"),
        ({"package.json": "nonsense"}, "npm pack --dry-run"),
        ({"go.mod": "", "Makefile": "test:\n"}, "go test ./..."),
        ({"Cargo.toml": ""}, "cargo test"),
        ({"Cargo.toml": "", "Cargo.lock": LOCKED}, "cargo test --locked"),
        ({"pom.xml": ""}, "mvn --batch-mode -Dmaven.repo.local=.m2 verify"),
        ({"pom.xml": "", "mvnw": ""}, "sh mvnw --batch-mode -Dmaven.repo.local=.m2 verify"),
        ({"build.gradle.kts": "", "gradlew": ""}, "sh gradlew --no-daemon build"),
        ({"settings.gradle": ""}, "gradle --no-daemon build"),
        ({"Makefile": "all: x\n\ttrue\ncheck test: all\n"}, "make test"),
        ({"makefile": "check:\n"}, "make check"),
        ({"GNUmakefile": "test := 1\nall:\n"}, "make"),
    ],
    ids=lambda one: "+".join(one) if isinstance(one, dict) else "",
)
def test_each_language_has_its_command(files, last):
    assert script_of(files)[-1] == last


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ({"pyproject.toml": EXTRA}, ".venv/bin/python -m pip install --quiet -e '.[test]' --group dev pytest"),
        (
            {"requirements.txt": "", "requirements-dev.txt": "", "conftest.py": ""},
            ".venv/bin/python -m pip install --quiet -r requirements-dev.txt -r requirements.txt pytest",
        ),
        ({"package.json": SCRIPTS, "package-lock.json": ""}, "npm ci"),
        ({"package.json": SCRIPTS}, "npm install"),
        ({"package.json": SCRIPTS, "yarn.lock": ""}, "yarn install --frozen-lockfile"),
        ({"package.json": SCRIPTS, "yarn.lock": "", ".yarnrc.yml": ""}, "yarn install --immutable"),
        ({"package.json": SCRIPTS, "pnpm-lock.yaml": ""}, "pnpm install --frozen-lockfile --store-dir .pnpm-store"),
        ({"package.json": '{"packageManager": "pnpm@9.1.0", "scripts": {"build": "x"}}'}, "pnpm run build"),
        ({"go.mod": "", "go.sum": ""}, 'export GOMODCACHE="$PWD/.gomod"'),
    ],
    ids=lambda one: "+".join(one) if isinstance(one, dict) else "",
)
def test_what_it_depends_on_is_installed(files, line):
    assert line in script_of(files)


@pytest.mark.parametrize(
    "files",
    [
        {"pyproject.toml": EXTRA},
        {"package.json": SCRIPTS, "package-lock.json": ""},
        {"package.json": SCRIPTS, "pnpm-lock.yaml": ""},
        {"package.json": SCRIPTS, "yarn.lock": ""},
        {"go.mod": "", "go.sum": ""},
        {"Cargo.toml": "", "Cargo.lock": LOCKED},
        {"pom.xml": ""},
        {"build.gradle": ""},
    ],
    ids="+".join,
)
def test_what_is_fetched_is_kept_below_the_workspace(files):
    """Caches take paths of the workspace, and their key is made of files that are there."""
    (find,) = found(files)
    assert find.cache.key_paths and set(find.cache.key_paths) <= set(files)
    assert all(path.startswith(".") and ".." not in path for path in find.cache.paths)
    said = " ".join([*find.script, *find.environment.values()])
    assert find.cache.paths[0].partition("/")[0] in said


def test_several_languages_are_several_tasks():
    finds = found({"pyproject.toml": PROJECT, "web/package.json": SCRIPTS, "api/go.mod": "", "tests/pom.xml": ""})
    assert [(find.language, find.folder) for find in finds] == [("Python", ""), ("Go", "api"), ("Node", "web")]
    (loaded,) = load(text_of(finds), path=".formicary/ci.yml")
    tasks = loaded.definition.tasks
    assert [(one.task_type, one.working_dir) for one in tasks] == [
        ("test-python", ""), ("test-go-api", "api"), ("test-node-web", "web"),
    ]  # fmt: skip


def test_a_language_at_the_top_is_not_looked_for_below():
    """The members of a workspace are its top's business."""
    assert len(found({"package.json": SCRIPTS, "packages/package.json": "", "a/package.json": ""})) == 1


def test_names_are_unique():
    files = {f"{name}/{sign}": "" for name in "ab" for sign in ("pom.xml", "go.mod")}
    names = names_of(found(files))
    assert len(set(names)) == len(names) == 4


def test_no_more_tasks_than_a_person_reads():
    assert len(found({f"a{number}/go.mod": "" for number in range(40)})) == MOST


WORDS = st.sampled_from(
    [
        *(name for name in READ if "*" not in name),
        *("requirements.txt", "go.mod", "go.sum", "pom.xml", "mvnw", "gradlew", "build.gradle", "Cargo.toml"),
        *("yarn.lock", "package-lock.json", "test_a.py", "conftest.py", ".yarnrc.yml"),
    ]
)
ODD = st.text(alphabet="a{}%#:'\" -\\é\n&*!|>@`,[]", min_size=1, max_size=8)
NAMES = st.one_of(WORDS, st.tuples(ODD, WORDS).map("/".join), st.tuples(ODD, st.just(".py")).map("".join))
TEXTS = st.one_of(
    st.sampled_from([EXTRA, SCRIPTS, LOCKED, "test:\n", "[tool.pytest]\n", "[tool.tox]\n", "project = 3\n"]),
    st.builds(lambda main: json.dumps({"main": main, "scripts": {main: main}}), ODD),
    ODD,
)


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(NAMES, TEXTS, max_size=8))
def test_whatever_is_found_the_text_is_valid(files):
    """No file's name or content makes a definition that `formicary validate` would complain of."""
    finds = look(Folder(frozenset(files), files))
    text = text_of(finds)
    (loaded,) = load(text, path=".formicary/ci.yml")
    assert not loaded.problems and not loaded.warnings, text
    assert [list(task.script) for task in loaded.definition.tasks if finds] == [list(find.script) for find in finds]


# --- the command


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that is no repository."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test_a.py").write_text("")
    return tmp_path


def test_it_writes_says_what_it_found_and_what_is_next(folder, formicary):
    said = formicary("init")
    assert said.code == 0
    assert "found    Python (test_a.py): unittest\nwrote    .formicary/ci.yml\nnext     git init" in said.out
    for words in ("formicary run", "formicary serve --repo .", "formicary hook install"):
        assert words in said.out
    assert formicary("validate").out == "✓ 1 file, 1 job: all valid\n"
    assert sorted(path.name for path in (folder / ".formicary").iterdir()) == ["ci.yml"]


def test_it_overwrites_nothing(folder, formicary):
    """Without --force, whichever definition is there."""
    (folder / ".formicary").mkdir()
    mine = folder / ".formicary" / "mine.yaml"
    mine.write_text("job_type: mine\nscript: true\n")
    said = formicary("init")
    assert said.code == 1 and "there is .formicary/mine.yaml already; --force" in said.err
    assert list(mine.parent.iterdir()) == [mine]
    assert formicary("init", "--force").code == 0
    assert mine.read_text().startswith("job_type: mine")
    (folder / ".formicary" / "ci.yml").write_text("job_type: old\nscript: true\n")
    assert formicary("init", "--force").code == 0
    assert "job_type: ci" in (folder / ".formicary" / "ci.yml").read_text()


def test_a_job_of_this_name_is_not_made_twice(folder, formicary):
    """--force makes no definition that validate would refuse."""
    (folder / ".formicary").mkdir()
    (folder / ".formicary" / "all.yml").write_text("job_type: ci\nscript: true\n")
    said = formicary("init", "--force")
    assert said.code == 1 and "`ci`" in said.err and ".formicary/all.yml" in said.err
    assert not (folder / ".formicary" / "ci.yml").exists()


def test_stdout_writes_nothing(folder, formicary):
    said = formicary("init", "--stdout")
    assert (
        said.code == 0
        and said.out.startswith("# yaml-language-server: $schema=../.git/")
        and said.out.endswith("discover\n")
    )
    assert "found    Python" in said.err
    assert not (folder / ".formicary").exists()


def test_it_writes_at_the_top_of_the_repository(repo, formicary, monkeypatch):
    """And ignored files tell nothing."""
    repo.commit({"sub/deep/x.txt": "", ".gitignore": "package.json\n", "Makefile": "test:\n"})
    (repo.path / "package.json").write_text("{}")
    monkeypatch.chdir(repo.path / "sub")
    said = formicary("init")
    assert "found    Make (Makefile): make test" in said.out and "Node" not in said.out
    assert "wrote    ../.formicary/ci.yml" in said.out and "git init" not in said.out
    assert (repo.path / ".formicary" / "ci.yml").is_file()


def test_nothing_that_it_knows_is_a_line_to_replace(tmp_path, formicary, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = formicary("init")
    assert "nothing that tells" in said.out
    assert 'script: echo "Hello' in (tmp_path / ".formicary" / "ci.yml").read_text()


def test_a_missing_tool_is_said(tmp_path, formicary, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("shutil.which", lambda tool: None)
    (tmp_path / "package.json").write_text("{}")
    assert "node and npm are not on the PATH here" in formicary("init").out


def test_rustup_s_cargo_needs_a_word(tmp_path, formicary, monkeypatch):
    """It finds its compilers in the home of its user, which is not a task's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Cargo.toml").write_text("")
    (tmp_path / "rustup").write_text("")
    (tmp_path / "cargo").symlink_to("rustup")
    monkeypatch.setattr("shutil.which", lambda tool: str(tmp_path / tool))
    assert "RUSTUP_HOME" in formicary("init", "--stdout").err
    monkeypatch.setattr("shutil.which", lambda tool: str(tmp_path / "rustc"))
    assert "RUSTUP_HOME" not in formicary("init", "--stdout").err


def test_a_folder_that_cannot_be_written(folder, formicary):
    (folder / ".formicary").write_text("a file")
    said = formicary("init")
    assert said.code == 1 and "cannot be written" in said.err


def test_a_file_that_cannot_be_read_tells_nothing(folder, formicary):
    """A named pipe would keep it waiting for ever."""
    subprocess.run(["mkfifo", folder / "requirements.txt"], check=True)
    assert "Python (test_a.py)" in formicary("init").out
