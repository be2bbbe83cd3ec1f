"""All that is wrong with a definition is told at once, each at its place, with what to do."""

import pytest
from loading import SHORT, bad, one

from formicary.runner.core.definition import TRIGGERS_NOT_YET


def test_all_that_is_wrong_is_told_at_once_with_place_and_caret():
    text = """job_type: ci
dependancies: 1
max_concurrency: many
timeout: 5 minutes
tasks:
  - task_type: a
    script: {x: y}
    needs: [b]
    allow_failure: perhaps
  - script: x
  - task_type: a
    artifacts: [x]
    retry: -1
    skript: x
"""
    found = bad(text)
    places = {(problem.line, problem.column) for problem in found}
    assert places == {(2, 1), (3, 18), (4, 10), (7, 13), (9, 20), (10, 5), (12, 16), (13, 12), (14, 5)}
    shown = str(found[0]).splitlines()
    assert shown[0].startswith("ci.yml:2:1: `dependancies`")
    assert shown[1:] == ["    dependancies: 1", "    ^"]
    assert [problem.line for problem in found] == sorted(problem.line for problem in found)
    assert all(problem.expected and problem.source for problem in found)


def test_an_unknown_key_names_the_nearest():
    problem = bad("job_type: ci\ntasks:\n- task_type: a\n  script: x\n  dependancies: [b]\n")[0]
    assert "did you mean `dependencies`?" in problem.expected and problem.line == 5


@pytest.mark.parametrize(
    "text",
    [
        *(f"triggers: {{{name}: {{}}}}" for name in sorted(TRIGGERS_NOT_YET)),
        "checkout: {lfs: true}",
        "checkout: {submodules: recursive}",
    ],
)
def test_what_comes_later_is_refused_by_name(text):
    (problem,) = bad(f"{SHORT}{text}\n")
    assert "ot supported yet" in problem.message and problem.line == 3


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("triggers: {pusch: {}}", "push"),
        ("triggers: [push]", "push: {}"),
        ("triggers: [{push: {}}, {push: {}}]", "twice"),
        ("method: SHEL", "SHELL"),
        ("timeout: 1 hour", "1h30m"),
        ("timeout: -5", "duration"),
        ("timeout: 1d", "duration"),
        ("max_concurrency: 0", "at least 1"),
        ("max_concurrency: 1.5", "whole number"),
        ("cron_missed: newest", "latest"),
        ("cron_trigger: every day", "field"),
        ("timezone: Mars/Base", "zone"),
        ("params: [a]", "mapping"),
        ("params: {a: {defualt: 1}}", "default"),
        ("params: {a: {pattern: '('}}", "regular expression"),
        ("params: {a: {secret: true, default: x}}", "secret"),
        ("job_variables: [a]", "mapping"),
        ("job_variables: [{name: a}]", "name and a value"),
        ("variables: x", "mapping"),
        ("environment: [a]", "mapping"),
        ("environment: {A: [b]}", "text"),
        ("always_run: yes", "true"),
        ("allow_failure: sometimes", "true"),
        ("artifacts: x", "mapping"),
        ("artifacts: {paths: x, when: never}", "onSuccess"),
        ("cache: {key: x}", "paths"),
        ("on_exit_code: {ok: a}", "exit code"),
        ("on_completed: [a]", "list"),
        ("checkout: maybe", "true"),
        ("retry: many", "whole number"),
        ("retry_backoff_policy: {factor: 0.5}", "at least 1"),
        ("tasks: {a: b}", "list"),
        ("tasks: []", "no tasks"),
        ("tasks: [a]", "mapping"),
        ("template: jinja", "native"),
        ("tags: {a: b}", "mapping"),
    ],
)
def test_a_wrong_value_is_one_sentence_at_its_place(line, words):
    head = "job_type: ci\n" if line.startswith("tasks") else SHORT
    problem = bad(f"{head}{line}\n")[0]
    assert words in f"{problem.message} {problem.expected}"
    assert problem.line == len(head.splitlines()) + 1 and problem.column >= 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("script: x", "no `job_type`"),
        ("job_type: ''\nscript: x", "name is missing"),
        ("job_type:\nscript: x", "name is missing"),
        (f"job_type: {'x' * 101}\nscript: x", "101 characters"),
        ("job_type: [a]\nscript: x", "list"),
        ("job_type: a", "does nothing"),
        ("- a", "list"),
        ("just text", "text"),
        ("job_type: a\ntasks: []\nscript: x", "key of a task"),
    ],
)
def test_a_job_needs_a_name_and_something_to_do(text, words):
    assert any(words in problem.message for problem in bad(text))


def test_job_type_is_known_though_the_rest_is_not():
    for text in ("job_type: ci # c\nx: [", 'job_type: "ci"\nscript: {{', "a: b\njob_type: ci\nb: 1"):
        assert one(text).job_type == "ci" and one(text).problems


# --- the graph


def test_graph_errors_have_the_place_of_the_value():
    text = (
        "job_type: ci\ntasks:\n- task_type: build\n  script: x\n"
        "  on_completed: biuld2\n- task_type: t\n  needs: [a, build, t]\n"
    )
    found = {(problem.line, problem.column): str(problem) for problem in bad(text)}
    assert set(found) == {(5, 17), (7, 11), (7, 21)}
    assert "did you mean `build`?" in found[5, 17]


def test_a_cycle_is_told_with_both_lines():
    text = "job_type: ci\ntasks:\n- task_type: a\n  needs: [b]\n- task_type: b\n  needs: [a]\n"
    (problem,) = bad(text)
    assert "a" in problem.message and {problem.line, 4, 6} == {4, 6}
    assert str({4: 6, 6: 4}[problem.line]) in problem.expected


def test_two_tasks_of_one_name():
    found = bad("job_type: ci\ntasks:\n- task_type: a\n  script: x\n- task_type: a\n  script: x\n")
    assert "two tasks" in found[0].message.lower()


def test_more_than_500_tasks_are_refused():
    assert "500 tasks" in bad("job_type: a\ntasks:\n" + "- {task_type: t, script: x}\n" * 501)[0].message
