"""What `matrix` and `when` say: combinations as GitHub Actions makes them, errors at their place, what shapes a run."""

import pytest
from loading import bad, good, names, one, refused

from formicary.runner.core.graph import Graph
from formicary.runner.core.load import attempt, plan
from formicary.runner.core.loading.matrix import combined

SHORT = "job_type: ci\nscript: make\n"


def labels(text, **params):
    job = plan(text, 0, names(params)).definition
    return [node.combination.label for node in Graph.of(job).nodes.values() if node.combination]


# Of docs.github.com, "Running variations of jobs in a workflow": lists, include, what becomes of them.
FRUIT = {"fruit": ["apple", "pear"], "animal": ["cat", "dog"]}
GITHUB = [
    ([{"color": "green"}], "apple cat green, apple dog green, pear cat green, pear dog green"),
    (
        [
            {"color": "green"},
            {"color": "pink", "animal": "cat"},
            {"fruit": "apple", "shape": "circle"},
            {"fruit": "banana"},
            {"fruit": "banana", "animal": "cat"},
        ],
        "apple cat pink circle, apple dog green circle, pear cat pink, pear dog green, banana, banana cat",
    ),
    ([{"fruit": "apple", "animal": "cat"}], "apple cat, apple dog, pear cat, pear dog"),
]


@pytest.mark.parametrize(("include", "expected"), GITHUB)
def test_include_is_githubs(include, expected):
    made = combined(FRUIT, include)
    assert ", ".join(" ".join(one.values()) for one in made) == expected


def test_exclude_comes_first_and_may_name_some_of_the_variables():
    without = [{"animal": "dog"}, {"fruit": "pear", "animal": "cat"}]
    assert combined(FRUIT, exclude=without) == [{"fruit": "apple", "animal": "cat"}]
    again = combined(FRUIT, [{"fruit": "pear", "animal": "dog"}], without)
    assert again[1:] == [{"fruit": "pear", "animal": "dog"}], "include brings back what was excluded"
    assert combined({}, [{"a": 1}, {"b": 2}]) == [{"a": 1}, {"b": 2}]


def test_names_and_types():
    job = good(SHORT + "matrix: {python: [3.10, 3.9, '3.8'], fast: [true]}\n")
    matrix = job.tasks[0].matrix
    assert [one.label for one in matrix.combinations] == [f"python={v}, fast=true" for v in ("3.10", "3.9", "3.8")]
    assert [one.values for one in matrix.combinations][:2] == [
        {"python": "3.10", "fast": True},
        {"python": 3.9, "fast": True},
    ]
    assert (matrix.names, matrix.max_parallel, matrix.fail_fast) == (("python", "fast"), 0, False)


def test_the_same_twice_is_one_and_names_stay_different():
    long = "x" * 60
    text = SHORT + f"matrix: {{a: [1, 1, '1'], include: [{{b: {long}y}}, {{a: 2, b: {long}z}}, {{a: 2, b: {long}}}]}}\n"
    made = labels(text)
    assert len(made) == len(set(made)) == 3 and made[0].startswith("a=1, b=xxx") and made[2].endswith("… #2")
    assert all("\n" not in label for label in labels(SHORT + 'matrix: {a: ["1\\n2"]}\n'))


TEMPLATED = """
job_type: ci
params: {Versions: {default: ["3.11", "3.12"]}}
tasks:
  - task_type: test
    matrix:
      python: "{{ Versions }}"
      include: [{os: linux}]
    script: ./test.sh {{ python }}
    variables: {image: "py{{ python }}"}
"""


def test_a_list_that_a_template_makes():
    assert good(TEMPLATED)
    assert labels(TEMPLATED, Versions=["3.13"]) == ["python=3.13, os=linux"]
    assert labels(TEMPLATED, Versions='["3.13", 4]') == ["python=3.13, os=linux", "python=4, os=linux"]
    assert labels(TEMPLATED, Versions="3.14") == ["python=3.14, os=linux"]
    assert labels(TEMPLATED.replace("include: [{os: linux}]", ""), Versions=[]) == []
    (problem,) = refused(lambda: plan(TEMPLATED, 0, names({"Versions": [{"a": 1}]})))
    assert "text, a number, true or false" in problem.message and problem.line == 7


def test_an_attempt_has_the_values_of_its_combination():
    """They stand above outputs, and below what nothing shadows."""
    seen = names(outputs={"build": {"python": "wrong", "JobID": 1}}, matrix={"python": 3.13, "JobID": 0})
    task = attempt(TEMPLATED, 0, seen, "test")
    assert (task.script, task.variables, task.matrix) == (("./test.sh 3.13",), {"image": "py3.13"}, None)
    assert seen.values["JobID"] == 7


SHAPED = """
job_type: ci
tasks:
  - task_type: test
    matrix: {os: [linux, mac], n: [1, 2, 3]}
    variables: {Tag: "on-{{ os }}"}
    tags: ["{{ TAG }}"]
    timeout: "{{ 5 if os == 'mac' else 9 }}m"
    script: make
"""


@pytest.mark.parametrize("tag", ["os", "Tag"])
def test_what_shapes_a_run_may_be_made_of_its_values(tag):
    job = plan(SHAPED.replace("TAG", tag), 0, names()).definition
    nodes = [node for node in Graph.of(job).nodes.values() if node.group]
    prefix = "on-" if tag == "Tag" else ""
    assert [node.task.tags for node in nodes] == [(prefix + os,) for os in ("linux", "mac") for _ in range(3)]
    assert [node.task.timeout for node in nodes] == [540.0] * 3 + [300.0] * 3
    assert len(job.tasks[0].variants) == (2 if tag == "os" else 6)


def test_the_graph_is_the_same_for_all():
    text = SHAPED.replace("script: make", 'script: make\n    needs: ["{{ os }}"]')
    text += "".join(f"  - task_type: {name}\n    script: make\n" for name in ("linux", "mac"))
    problems = refused(lambda: plan(text.replace("TAG", "os"), 0, names()))
    assert any("`needs` of a matrix task is the same" in problem.message for problem in problems)


def test_taint_goes_with_the_values():
    """T6: what outsiders can write is not code, whichever way it takes."""
    text = TEMPLATED.replace("params: {Versions: {default: ['3.11', '3.12']}}\n", "")
    planned = plan(text, 0, names({"Versions": ["$(evil)"]}, tainted=["Versions"])).definition.tasks[0]
    assert planned.matrix.tainted == ("python",)
    seen = names(matrix={"python": "$(evil)"}, tainted_matrix=("python",))
    assert "may not become code" in refused(lambda: attempt(text, 0, seen, "test"))[0].message


WRONG = [
    ("matrix: {}", "This matrix has no list", 9),
    ("matrix: [a]", "Matrix must be a mapping", 9),
    ("matrix: {a: []}", "This list of the matrix has no values", 13),
    ("matrix: {a-b: [1]}", "`a-b` cannot be a variable", 10),
    ("matrix: {max-parallel: 1, a: [1]}", "`max-parallel` cannot be a variable", 10),
    ("matrix: {a: [{b: 1}]}", "A variable of a matrix is text", 14),
    ("matrix: {a: [1], max_parallel: 0}", "`0` is not a whole number of at least 1", 32),
    ("matrix: {a: [1], exclude: [{b: 1}]}", "`exclude` names `b`", 27),
    ("matrix: {a: [1], include: [b]}", "Each of these says which variables", 27),
    (f"matrix: {{a: {[*range(72)]}, b: {[*range(72)]}}}", "This matrix has 5,184 combinations and more", 9),
    ("when: {}", "This `when` says nothing", 7),
    ("when: {branches: x}", "`branches` is not a key of when", 8),
]


@pytest.mark.parametrize(("written", "message", "column"), WRONG, ids=[written[:40] for written, _, _ in WRONG])
def test_what_is_wrong_is_told_at_its_place(written, message, column):
    found = [problem for problem in bad(SHORT + written + "\n") if problem.message.startswith(message)]
    assert found and (found[0].line, found[0].column) == (3, column)
    assert found[0].expected


def test_all_matrices_together_have_a_limit():
    tasks = "".join(
        f"  - task_type: t{number}\n    script: make\n    matrix: {{a: {[*range(60)]}, b: {[*range(40)]}}}\n"
        for number in range(3)
    )
    (problem,) = bad("job_type: ci\ntasks:\n" + tasks)
    assert "7,200 in all" in problem.message


def test_a_run_is_not_called_as_another_task_is():
    text = (
        "job_type: ci\ntasks:\n  - {task_type: a, script: x, matrix: {n: [1]}}\n  - {task_type: a (n=1), script: x}\n"
    )
    (problem,) = bad(text)
    assert "A combination of `a` would be called `a (n=1)`" in problem.message


def test_no_matrix_holds_a_secret():
    text = SHORT + 'matrix: {a: ["{{ Token }}"]}\n'
    assert one(text).definition
    (problem,) = refused(lambda: plan(text, 0, names(secrets={"Token": "hush"})))
    assert "may not hold a secret" in problem.message
