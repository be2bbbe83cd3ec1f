"""The JSON Schema and the loader agree: on every example, and on files as people get them wrong."""

import copy
import json
import random
import re

import pytest
from jsonschema import Draft202012Validator
from mutations import SEEDS, mutated

from formicary.runner.core.definition import NATIVE
from formicary.runner.core.language import source
from formicary.runner.core.language.dialect import dialect_of
from formicary.runner.core.language.limits import Budget, Fault
from formicary.runner.core.language.nodes import Scalar, Sequence, compose, resolve
from formicary.runner.core.language.render import compile_document
from formicary.runner.core.language.run import TOKEN
from formicary.runner.core.load import load
from formicary.runner.core.loading.document import FULL, SHORT
from formicary.runner.core.loading.meanings import MEANINGS
from formicary.runner.core.loading.samples import SAMPLE_NAMES
from formicary.runner.core.schema import TABLES, schema

VALIDATOR = Draft202012Validator(schema())
#: What a schema can see of one value. The loader's words.
VISIBLE = re.compile(
    r"is not a key of|was expected here, and this is|must be a mapping|is not a duration|is neither true nor false"
    r"|is none of|has no `job_type`|has no `task_type`|needs `|is not a whole number|is not a number of at least"
    r"|takes a mapping|is not an exit code|has no tasks|is a key of a task, not of a job"
)


def told(tree):
    """The tree as an editor's parser would give it; what was a template is one again."""
    if tree is None:
        return None
    if isinstance(tree, Scalar):
        text = TOKEN.sub("{{ X }}", tree.text)
        return resolve(text) if tree.plain and not tree.token else text
    if isinstance(tree, Sequence):
        return [told(item) for item in tree.items]
    return {TOKEN.sub("{{ X }}", key.text): told(value) for key, value in tree.pairs}


def documents(text):
    """Each document as data, or None where it is no YAML, or not the native dialect."""
    text = source.normal(text)
    for one in source.documents(text):
        if dialect_of(one.text, NATIVE) != NATIVE:
            yield None
            continue
        try:
            yield told(compose(one.text, Budget()))
        except Fault:
            try:
                rendered = compile_document(one.text).render(SAMPLE_NAMES.values, SAMPLE_NAMES.tainted, Budget())
                yield told(rendered.tree)
            except Fault:
                yield None


def refused(document):
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(document)]


def test_it_is_a_schema():
    Draft202012Validator.check_schema(schema())
    assert schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert json.loads(json.dumps(schema())) == schema()


def examples(root):
    for path in sorted((root / "examples" / ".formicary").glob("*.yml")):
        yield path.name, path.read_text(encoding="utf-8")
    page = (root / "docs" / "language.md").read_text(encoding="utf-8")
    for number, found in enumerate(re.findall(r"^```yaml\n(.*?)^```$", page, re.M | re.S)):
        if "job_type:" in found:
            yield f"language.md, example {number + 1}", found


def test_every_example_is_valid(request):
    seen = 0
    for name, text in examples(request.config.rootpath):
        for one in documents(text):
            seen += one is not None
            assert one is None or refused(one) == [], name
    assert seen > 30


@pytest.mark.parametrize("start", range(0, 600, 50))
def test_what_it_refuses_of_mutated_files_the_loader_refuses(start):
    for seed in range(start, start + 50):
        text = mutated(random.Random(seed), SEEDS[seed % len(SEEDS)])
        agree(text)


def agree(text):
    found = load(text, path="f.yml", fragments={})
    try:
        told_ = list(documents(text))
    except Fault:
        return
    if len(found) != len(told_):
        assert any(one.problems for one in found), "a file that is refused as a whole has no documents"
        return
    for loaded, one in zip(found, told_, strict=True):
        if one is None:
            continue
        wrong = refused(one)
        if wrong and not loaded.problems:
            raise AssertionError(f"only the schema refuses it: {wrong}\n{text}")
        messages = [problem.message for problem in loaded.problems if VISIBLE.search(problem.message)]
        if messages and not wrong and "{%" not in text:
            raise AssertionError(f"only the loader refuses it: {messages}\n{text}")


POOL = [1, -1, 1.5, "x", "5m", "2", "true", "", " ", True, None, [], {}, ["a"], [["a"], 1], {"a": 1}, "{{ X }}", [{}]]


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def changed(random_, document):
    """The document with one value replaced, one key renamed, added or taken away."""
    document = copy.deepcopy(document)
    *path, last = random_.choice([path for path in places(document) if path])
    within = document
    for key in path:
        within = within[key]
    kind = random_.randrange(4)
    if kind == 0 or isinstance(within, list):
        within[last] = copy.deepcopy(random_.choice(POOL))
    elif kind == 1:
        within[f"{last}s"] = within.pop(last)
    elif kind == 2:
        del within[last]
    else:
        within[random_.choice(KEYS)] = copy.deepcopy(random_.choice(POOL))
    return document


KEYS = sorted({*FULL.keys, *SHORT.keys, *(name for one in TABLES.values() for name in one.table.keys)})


@pytest.mark.parametrize("start", range(0, 2000, 250))
def test_they_agree_on_documents_with_one_value_changed(start):
    """Both ways: types, words, unknown keys and missing ones."""
    known = [one for text in SEEDS if "{%" not in text for one in documents(text) if isinstance(one, dict)]
    for seed in range(start, start + 250):
        random_ = random.Random(seed)
        agree(json.dumps(changed(random_, known[seed % len(known)]), ensure_ascii=False))


def test_everything_is_described():
    """Every key has its meaning, and its example is right."""
    for table, described in TABLES.items():
        for name in described.table.keys:
            known = {**MEANINGS["TASK"], **MEANINGS["JOB"]} if table in ("JOB", "TASK") else MEANINGS[table]
            assert name in known, f"{table} {name}: say in runner/core/loading/meanings.py what it means"
    for name, key in {**SHORT.keys, **FULL.keys}.items():
        found = VALIDATOR.schema["$defs"]["job" if name in FULL.keys else "short_job"]["properties"][name]
        assert found["description"], name
        assert key.shape in ("value", "tasks") or len(found) > 2, f"{name}: the schema does not know its shape"


#: Their examples name tasks and files that are not there, or need a method of their own.
OF_OTHERS = {"include", "template", "tasks", "dependencies", "needs", "on_completed", "on_failed"}
OF_OTHERS |= {"approval_policy", "fork_job_type", "fork_job_version", "await_forked_tasks", "sub_workflow", "fan_out"}
OF_OTHERS |= {"public_plugin", "url", "headers", "query", "body", "messaging_request_queue", "messaging_reply_queue"}


def test_its_examples_are_right_in_both():
    for name, meaning in {**MEANINGS["TASK"], **MEANINGS["JOB"]}.items():
        if name in OF_OTHERS:
            continue
        document = {"job_type": "a", "script": "b", "params": {"Version": {}}, name: meaning.example}
        assert refused(document) == [], name
        (loaded,) = load(json.dumps(document), path="f.yml")
        assert loaded.problems == (), name


@pytest.mark.parametrize(
    "change, place",
    [
        ({"dependancies": []}, "$"),
        ({"timeout": "soon"}, "$.timeout"),
        ({"cron_missed": "some"}, "$.cron_missed"),
        ({"job_type": "{{ Name }}"}, "$.job_type"),
        ({"max_concurrency": 0}, "$.max_concurrency"),
        ({"script": {"a": 1}}, "$.script"),
        ({"container": {"image": ["a"]}}, "$.container"),
        ({"container": {"memory_limit": "512MB"}}, "$.container"),
        ({"services": [{"name": "db"}]}, "$.services"),
        ({"triggers": {"pull_request": {"types": ["opend"]}}}, "$.triggers"),
    ],
)
def test_what_it_refuses_it_refuses_at_its_place(change, place):
    document = {"job_type": "a", "script": "b", **change}
    assert [error.json_path for error in VALIDATOR.iter_errors(document)] == [place]


def test_keys_not_there_yet_are_left_out():
    """What the loader refuses by name is unknown to the schema: its keys are the tables' and no others."""
    found = VALIDATOR.schema["$defs"]
    assert set(found["job"]["properties"]) == set(FULL.keys) and set(found["short_job"]["properties"]) == set(
        SHORT.keys
    )
    assert set(found["task"]["properties"]) == set(TABLES["TASK"].table.keys)


def test_the_go_dialect_is_not_looked_into():
    assert refused({"job_type": "a", "template": "go", "script": "b", "whatever": 1}) == []
