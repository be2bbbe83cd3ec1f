"""docs/language.md says what the loader does: keys, defaults, examples, filters, the environment of a task."""

import os
import re
import subprocess
import sys

import pytest
from pydantic_core import PydanticUndefined

from formicary.runner.core import containing
from formicary.runner.core import definition as model
from formicary.runner.core.deciding.outcome import span
from formicary.runner.core.language import functions
from formicary.runner.core.language.go import functions as go
from formicary.runner.core.load import load
from formicary.runner.core.loading import containers, keys, outward, shared

TABLES = {
    "JOB": (keys.JOB, model.JobDefinition),
    "TASK": (keys.TASK, model.TaskDefinition),
    "BACKOFF": (keys.BACKOFF, model.Backoff),
    "TRIGGERS": (keys.TRIGGERS, model.Triggers),
    "REF_FILTER": (keys.REF_FILTER, model.RefFilter),
    "PARAM": (keys.PARAM, model.Param),
    "ARTIFACTS": (keys.ARTIFACTS, model.Artifacts),
    "CACHE": (keys.CACHE, model.Cache),
    "CHECKOUT": (keys.CHECKOUT, model.Checkout),
    "PULL_REQUEST_FILTER": (keys.PULL_REQUEST_FILTER, model.PullRequestFilter),
    "HOOK": (outward.HOOK, model.Hook),
    "CHANNEL": (outward.CHANNEL, model.Notify),
    "STATUS": (outward.STATUS, model.Status),
    "RETENTION": (outward.RETENTION, model.Retention),
    "CONCURRENCY": (shared.CONCURRENCY, model.Concurrency),
    "RESOURCES": (shared.RESOURCES, model.Resource),
    "EXTRACT": (shared.EXTRACT, model.ExtractConfig),
    "CONTAINER": (containers.CONTAINER_KEYS, containing.Container),
    "HEALTH": (containers.HEALTH, containing.Health),
}
RETRY = model.Retry()
ELSEWHERE = {"retry": RETRY.attempts, "delay_between_retries": RETRY.delay, "retry_backoff_policy": RETRY.backoff}
REQUIRED = {("CACHE", "paths")}
NOTHING = "—"


@pytest.fixture(scope="module")
def page(root):
    return (root / "docs" / "language.md").read_text(encoding="utf-8")


def default_of(table, fields, name, key):
    """A default as the page writes it."""
    if (table, name) in REQUIRED:
        return "required"
    if name in ("template", "include"):
        return NOTHING
    value = ELSEWHERE[name] if name in ELSEWHERE else fields[key.field or name].default
    if value is PydanticUndefined:
        return "required" if fields[key.field or name].is_required() else NOTHING
    if isinstance(value, bool):
        return str(value).lower()
    if key.shape == "duration" and value is not None:
        return span(value) if value else "0s"
    if isinstance(value, int | float):
        return f"{value:g}"
    if isinstance(value, tuple) and value:
        return f"[{', '.join(value)}]"
    return value if isinstance(value, str) and value else NOTHING


@pytest.mark.parametrize("table", TABLES)
def test_the_tables_of_keys_are_the_loader_s(page, rows, names, table):
    """Every key that the loader takes has its row, with its true default, and no row is made up."""
    known, model_ = TABLES[table]
    wanted = set(known.keys) | (set(keys.DEFAULTS) | {"tasks"} if table == "JOB" else set())
    said = {}
    for row in rows(page, f"keys: {table}"):
        assert len(row) == 4, row
        for name in names(row[0]):
            assert name not in said, f"{name} is there twice"
            said[name] = row[2].strip("`")
    assert set(said) == wanted
    defaults = {name: default_of(table, model_.model_fields, name, key) for name, key in known.keys.items()}
    assert {name: said[name] for name in defaults} == defaults


def examples(text):
    """(line, text) of each YAML block."""
    for found in re.finditer(r"^```yaml\n(.*?)^```$", text, re.M | re.S):
        yield text.count("\n", 0, found.start()) + 1, found[1]


def fragments(text):
    """Those that the page shows: their first line says where they lie."""
    found = re.finditer(r"^# \.formicary/(fragments/\S+)\n", "\n".join(example for _, example in examples(text)), re.M)
    shown = {one[1]: one for one in found}
    return {name: next(each for _, each in examples(text) if name in each.partition("\n")[0]) for name in shown}


def test_every_example_of_the_docs_loads(docs, root):
    """What people copy from the docs is valid, without a warning."""
    count = 0
    for path, text in docs.items():
        for line, example in examples(text):
            if "job_type:" not in example:
                continue
            count += 1
            for one in load(example, path=f"{path.relative_to(root)}, line {line}", fragments=fragments(text)):
                assert [str(problem) for problem in (*one.problems, *one.warnings)] == []
    assert count >= 10


@pytest.mark.parametrize(
    "marker, known",
    [
        ("filters", {*functions.FILTERS, *functions.OWN_FILTERS}),
        ("tests", {*functions.TESTS, *functions.OWN_TESTS}),
        ("functions", {*functions.FUNCTIONS}),
        ("go functions", set(go.NAMES)),
    ],
)
def test_what_templates_may_call_is_listed(page, names, marker, known):
    """The lists of filters, tests and functions are the evaluator's own."""
    paragraph = page.split(f"<!-- {marker} -->\n", 1)[1].split("\n\n", 1)[0]
    assert set(names(paragraph)) - {"is"} == known


def test_words_of_the_language_are_told_from_those_to_come(page, rows, names):
    """The table of words holds those that a transition may name in this version."""
    place = page.index("| word | effect |")
    said = {name for row in rows("<!-- w -->\n" + page[place:], "w") for name in names(row[0])}
    assert said - {"ERR_…"} == set(model.WORDS)


def test_the_environment_is_what_a_task_gets(page, rows, names, tmp_path):
    """The page names every variable that a task of `formicary run` sees, and none that it does not."""
    (tmp_path / "project" / ".formicary").mkdir(parents=True)
    (tmp_path / "project" / ".formicary" / "env.yml").write_text("job_type: env\nscript: env\n")
    project = tmp_path / "project"
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run(["git", *identity, *words], cwd=project, check=True)
    environment = {**os.environ, "FORMICARY_DATA": str(tmp_path / "data"), "NO_COLOR": "1", "QUEEN_ONLY": "hidden"}
    words = [sys.executable, "-m", "formicary.cli.main", "run"]
    done = subprocess.run(words, cwd=project, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    seen = set(re.findall(r"^([A-Za-z_]+)=", done.stdout, re.M)) - {"PWD", "OLDPWD", "SHLVL", "_"}
    seen = {name for name in seen if not name.startswith("__")}  # macOS puts one into every process
    said = {name for row in rows(page, "environment") for name in names(row[0])}
    assert "QUEEN_ONLY" not in seen
    assert seen - said == set()
    assert said - seen == {"CI_COMMIT_SHA", "CI_COMMIT_TAG", "CI_PIPELINE_URL"}
