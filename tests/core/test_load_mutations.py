"""Files as people get them wrong: each gives clear problems or a job, never a traceback, and in bounded time."""

import random
import resource
from functools import partial

import pytest
from costs import swiftly, within
from mutations import SEEDS, mutated

from formicary.runner.core.errors import DefinitionError
from formicary.runner.core.execution import Begin, Plan
from formicary.runner.core.load import attempt, load, plan
from formicary.runner.core.names import environment, names_for
from formicary.runner.core.plan import begin, decide


@pytest.mark.parametrize("text", SEEDS)
def test_what_is_mutated_is_right_before(text):
    assert not [problem for each in load(text, path="f.yml") for problem in each.problems]


@pytest.mark.parametrize("seed", range(300))
def test_every_mutated_file_gives_clear_problems_or_a_job(seed):
    look_at(seed)


@pytest.mark.soak
@pytest.mark.parametrize("start", range(300, 20_300, 1000))
def test_thousands_of_mutated_files_do(start):
    for seed in range(start, start + 1000):
        look_at(seed)


def look_at(seed):
    """T13: neither a traceback nor a hang, and every refusal has its place and a remedy."""
    random_ = random.Random(seed)
    text = mutated(random_, SEEDS[seed % len(SEEDS)])
    found = swiftly(0.5, lambda: load(text, path="f.yml"))
    assert found
    for each in found:
        assert (each.definition is None) == bool(each.problems)
        for problem in (*each.problems, *each.warnings):
            look_at_problem(problem, text)
        if each.definition is not None:
            swiftly(0.5, partial(use, text, each))


def look_at_problem(problem, text):
    # Only a file without anything has no line.
    assert problem.line >= 1 or "no job" in problem.message
    assert problem.line <= text.count("\n") + 1
    assert problem.message and "Traceback" not in problem.message and "formicary." not in problem.message
    assert problem.expected, problem
    if problem.line:
        written = text.split("\n")[problem.line - 1]
        assert problem.source == written and problem.column <= len(written) + 1


def use(text, loaded):
    """What could be loaded can be planned, rendered and begun; or somebody is told why not, with the place."""
    params = dict.fromkeys(loaded.definition.required_params, "1")
    params |= {name: one.default for name, one in loaded.definition.params.items() if one.default is not None}
    try:
        planned = plan(text, loaded.index, names_for(None, built_in={}, params=params), dialect=loaded.dialect)
        job = planned.definition
        for task in job.tasks:
            names = names_for(job, built_in={}, params=params, task=task)
            environment(names, attempt(text, loaded.index, names, task.task_type, dialect=loaded.dialect))
    except DefinitionError as error:
        assert error.problems and all(one.line and one.message and one.expected for one in error.problems)
        return
    _, orders = decide(begin(1, 1, Plan(definition=job), 1.0), Plan(definition=job), Begin(), 1.0, 1)
    assert orders


HEAD = "job_type: a\nscript: "
RUNAWAYS = {
    "deep flow": HEAD + "[" * 100_000,
    "deep block": "".join(" " * n + "a:\n" for n in range(700)),
    "wide": HEAD + "[" + "a," * 120_000 + "]",
    "unknown keys": "".join(f"k{n}: 1\n" for n in range(20_000)),
    "loops": HEAD + '"{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}"',
    "loop bodies": HEAD + '"{% for a in range(99999) %}{{ a + 1 + 1 + 1 + 1 + 1 }}{% endfor %}"',
    "joins": HEAD + '"{% for a in range(999) %}{{ ' + " ~ ".join(["'" + "x" * 5000 + "'"] * 30) + ' }}{% endfor %}"',
    "parentheses": HEAD + '"{{ ' + "(" * 5000 + "1" + ")" * 5000 + ' }}"',
    "sums": HEAD + '"{{ ' + "+".join(["1"] * 5000) + ' }}"',
    "comparisons": HEAD + '"{{ 1' + "==1" * 9000 + ' }}"',
    "filters": HEAD + '"{{ 1' + "|string" * 5000 + ' }}"',
    "bad tags": HEAD + '"' + "{{ . }}" * 30_000 + '"',
    "some bad tags": HEAD + '"' + "{{ . }}" * 1_500 + '"',
    "open tags": HEAD + '"' + "{% if " * 30_000 + '"',
    "spaces in tags": HEAD + '"' + ("{%-" + " " * 100) * 2000 + '"',
    "one open tag": HEAD + '"{%-' + " " * 200_000 + '"',
    "open raws": HEAD + '"' + "{% raw %}" * 25_000 + '"',
    "open ifs": HEAD + '"' + "{% if " * 1900 + "x" * 240_000 + '"',
    "long numbers": HEAD + '"{{ 0x' + "f" * 200_000 + ' }}"',
    "documents": "---\njob_type: a\nscript: '{% for a in range(99999) %}{% endfor %}'\n" * 99,
    "more documents": ("---\njob_type: a\nscript: [" + "a," * 1100 + "]\n") * 99,
    "made tasks": "job_type: a\ntasks:\n{% for i in range(9000) %}\n- {task_type: 't{{i}}', script: a}\n{% endfor %}\n",
    "needs": "job_type: a\ntasks:\n"
    + "".join(f"- {{task_type: t{n}, needs: [{','.join(f'x{k}' for k in range(80))}]}}\n" for n in range(400)),
    "some needs": "job_type: a\ntasks:\n" + "".join(f"- {{task_type: t{n}, needs: [x{n}]}}\n" for n in range(500)),
    "circle": "job_type: a\ntasks:\n"
    + "".join(f"- {{task_type: t{n}, needs: [t{(n + 1) % 500}]}}\n" for n in range(500)),
    "growing variable": "job_type: a\nscript: a\njob_variables: {v: '" + "{{ v }}x" * 1000 + "'}\n",
    "cron": f"{HEAD}a\ncron_trigger: '{'1,' * 100_000}1 * * * *'\n",
    "zone": f"{HEAD}a\ntimezone: {'x' * 200_000}\n",
    "pattern": f"{HEAD}a\nparams: {{a: {{pattern: '{'(' * 20_000}'}}}}\n",
    "merges": "x: &x {"
    + ",".join(f"a{n}: 1" for n in range(3000))
    + "}\n"
    + "".join(f"m{n}: {{<<: *x}}\n" for n in range(99)),
    "colons": "a: " * 80_000,
    "questions": "? " * 100_000,
}


@pytest.mark.parametrize("name", RUNAWAYS)
def test_no_input_runs_away(name):
    """T13, T16: half a second and 100 MiB at most. CPU time, as the machine may be busy."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = within(0.5, lambda: load(RUNAWAYS[name], path="f.yml"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024
    assert any(each.problems for each in found) or name == "comparisons"
    assert sum(len(each.problems) for each in found) <= 5000
