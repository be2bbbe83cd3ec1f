"""`fan_out` as it is read: what may depend on the item, and what of it and other keys does not go together."""

import pytest

from formicary.runner.core.errors import DefinitionError
from formicary.runner.core.load import attempt, fan_out_of, load, plan
from formicary.runner.core.names import names_for

JOB = "job_type: ci\nfan_out: {source: Items, item_var: n}\n"
OF_THE_ITEM = [
    "script: ['x {{ n }}']",
    "script: [x]\nenvironment: {A: '{{ n }}'}",
    "script: [x]\nvariables: {A: '{{ n }}'}",
    "method: HTTP_GET\nurl: 'https://a.example/{{ n }}'",
    "script: [x]\nartifacts: {paths: ['{{ n }}']}",
    "script: [x]\nexcept: '{{ n == 1 }}'",
    "script:\n{% if n == 1 %}\n  - one\n{% else %}\n  - other\n{% endif %}",
    "script: ['{{ n.name }}']",
]


def names(**values):
    return names_for(None, built_in={"JobID": 1, "TaskType": "ci", "TaskRetry": 0}, params=values)


@pytest.mark.parametrize("keys", OF_THE_ITEM)
def test_what_is_rendered_for_an_attempt_may_be_made_of_the_item(keys):
    """Nothing of it is read before there is an item: neither where the job is planned nor where the list is made."""
    text = f"{JOB}{keys}\n"
    (loaded,) = load(text, path="f.yml")
    assert loaded.problems == ()
    planned = plan(text, 0, names(Items=[1, 2])).definition.tasks[0]
    assert planned.fan_out.source == "Items"
    assert fan_out_of(text, 0, names(Items=[1, 2]), "ci").item_var == "n"
    item = {"name": "one"} if "n.name" in keys else 1
    rendered = attempt(text, 0, names(Items=[1, 2], n=item), "ci")
    assert "one" in rendered.script if "one" in keys or "name" in keys else "1" in rendered.model_dump_json()


SHAPES = ["timeout: '{{ n }}s'", "tags: ['{{ n }}']", "retry: '{{ n }}'", "resources: {resource_type: '{{ n }}'}"]


@pytest.mark.parametrize("keys", SHAPES)
def test_what_shapes_a_task_may_not(keys):
    """It is the same for all items; where there is a parameter of the name, it is meant."""
    text = f"{JOB}script: [x]\n{keys}\n"
    with pytest.raises(DefinitionError, match="There is no `n` here"):
        plan(text, 0, names(Items=[1, 2]))
    plan(text, 0, names(Items=[1, 2], n=3))


def test_the_list_is_rendered_when_it_is_wanted():
    """In quotes it is text that is a list in JSON, which is the same."""
    text = "job_type: ci\nscript: [x]\nfan_out: {source: '{{ Found | default([]) }}', item_var: n, max_parallel: 2}\n"
    plan(text, 0, names())
    assert fan_out_of(text, 0, names(Found=["a", "b"]), "ci").source == '["a", "b"]'
    assert fan_out_of(text, 0, names(), "ci").source == "[]"
    missing = text.replace(" | default([])", "")
    with pytest.raises(DefinitionError, match="There is no `Found` here"):
        fan_out_of(missing, 0, names(), "ci")


WRONG = [
    ("script: [x]\nfan_out: {source: a, item_var: b, fork_job_type: c}", "Only FORK_JOB forks a job"),
    ("method: MANUAL\nfan_out: {source: a, item_var: b}", "it cannot have a `fan_out`"),
    ("script: [x]\nmatrix: {a: [1]}\nfan_out: {source: a, item_var: b}", "A task has a `matrix` or a `fan_out`"),
    ("script: [x]\nfan_out: {item_var: b}", "`fan_out` needs `source`"),
    ("script: [x]\nfan_out: {source: a}", "`fan_out` needs `item_var`"),
]


@pytest.mark.parametrize(("keys", "told"), WRONG, ids=[told for _, told in WRONG])
def test_what_does_not_go_together_is_told_at_its_place(keys, told):
    (loaded,) = load(f"job_type: ci\n{keys}\n", path="f.yml")
    assert any(told in problem.message and problem.line > 1 for problem in loaded.problems), loaded.problems
