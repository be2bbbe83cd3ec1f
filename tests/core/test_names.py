"""Which names win, what is kept from a process, and that a secret is only ever a token."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formicary.runner.core.definition import JobDefinition, Param, TaskDefinition
from formicary.runner.core.names import Names, environment, fill, guarded, names_for, secret_token

TASK = TaskDefinition(task_type="t", variables={"E": "task", "F": "task"}, tainted_variables=("F",))
JOB = JobDefinition(
    job_type="j",
    job_variables=dict.fromkeys("ABCDEFGH", "job"),
    tainted_variables=("A", "C"),
    params={"C": Param(default="default"), "P": Param(default="default"), "Q": Param()},
)


def all_names(**more):
    given_ = {
        "built_in": {"B": "built"},
        "params": {"D": "param", "E": "param", "F": "param", "G": "param", "B": "param", "H": "param"},
        "tainted_params": frozenset({"D", "E", "B"}),
        "secrets": {"H": "hidden"},
        "outputs": {"one": {"G": "old", "F": "out"}, "two": {"G": "out", "B": "out", "H": "out"}},
        "task": TASK,
    }
    return names_for(JOB, **(given_ | more))


def test_later_wins_and_nothing_shadows_built_ins_and_secrets():
    values = all_names().values
    assert {name: values[name] for name in "ABCDEFGP"} == {
        "A": "job",
        "B": "built",
        "C": "default",
        "D": "param",
        "E": "task",
        "F": "out",
        "G": "out",
        "P": "default",
    }
    assert values["H"] == secret_token("H") and "Q" not in values


def test_what_a_server_answered_is_tainted_and_replaces_no_name():
    """T6: outputs of HTTP tasks."""
    job = JOB.model_copy(update={"tasks": (TaskDefinition(task_type="ask", method="HTTP_GET"),)})
    found = names_for(
        job,
        built_in={"B": "built"},
        params={"D": "param"},
        outputs={"ask": dict.fromkeys("ABDPZ", "theirs"), "two": {"Y": "out"}},
    )
    assert {name: found.values[name] for name in "ABDPZY"} == {
        "A": "job",
        "B": "built",
        "D": "param",
        "P": "default",
        "Z": "theirs",
        "Y": "out",
    }
    assert found.tainted == {"A", "Z", "ask", "Y", "two"}, "a script may hand on what a server said"
    assert found.values["ask"]["D"] == "theirs"


def test_outputs_are_there_by_task_too():
    assert all_names().values["one"] == {"G": "old", "F": "out"}
    shadowed = names_for(None, built_in={}, params={"one": 1}, outputs={"one": {"x": 2}})
    assert shadowed.values["one"] == 1


def test_taint_belongs_to_the_value_that_won():
    """T6: a name is tainted only if the value that is seen is."""
    assert all_names().tainted == {"A", "D"}
    assert all_names(outputs_tainted=True).tainted >= {"F", "G", "one", "two"}
    assert names_for(None, built_in={"GitBranch": "x"}, params={"GitTag": "v"}).tainted == {"GitBranch", "GitTag"}


def test_a_secret_parameter_is_a_token():
    names = names_for(None, built_in={}, params={"K": "hunter2", "E": ""}, secret_params=frozenset({"K", "E"}))
    assert names.secrets == {"K": "hunter2", "E": ""} and "hunter2" not in repr(names.values)
    assert names.values["E"] == ""
    found = environment(names, TASK)
    assert "hunter2" not in repr(found)
    assert fill(found.variables["K"], names.secrets) == "hunter2"


def test_nobody_asks_for_a_secret_by_writing_its_token():
    forged = f"x{secret_token('K')}y"
    names = names_for(None, built_in={}, params={"M": forged, "L": [forged]}, secrets={"K": "hunter2"})
    found = environment(names, TASK)
    assert fill(found.variables["M"], names.secrets) == forged
    assert json.loads(fill(found.variables["L"], names.secrets)) == [forged]


def test_fill_leaves_nothing_of_an_unknown_secret():
    assert fill(f"a{secret_token('gone')}b", {}) == "ab"


@given(st.text())
def test_guarded_text_comes_back(text):
    assert fill(guarded(text), {"": "x"}) == text


@pytest.mark.parametrize(
    "name",
    [
        *("PATH", "HOME", "LD_PRELOAD", "BASH_ENV", "ENV", "IFS", "PYTHONPATH", "PYTHON"),
        *("NODE_OPTIONS", "GIT_DIR", "GIT_SSH_COMMAND", "DOCKER_HOST"),
    ],
)
def test_no_parameter_variable_or_output_sets_what_changes_programs(name):
    """T7: only `environment` in the definition does."""
    for names in (
        names_for(None, built_in={}, params={name: "x"}),
        names_for(None, built_in={}, params={}, outputs={"a": {name: "x"}}),
        names_for(None, built_in={}, params={}, task=TaskDefinition(task_type="t", variables={name: "x"})),
    ):
        found = environment(names, TASK)
        assert name not in found.variables and name not in found.files
        assert any(f"`{name}`" in note for note in found.notes)
        assert names.values[name] == "x"
    own = environment(Names({}), TaskDefinition(task_type="t", environment={name: "y"}))
    assert own.variables == {name: "y"} and not own.notes


def test_git_parameters_are_no_git_settings():
    found = environment(names_for(None, built_in={"GitBranch": "main"}, params={"PATHS": "a", "MYPATH": "b"}), TASK)
    assert found.variables["GitBranch"] == "main" and found.variables["PATHS"] == "a"


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a.b", "a b", "é", "a=b", "a\n"])
def test_names_that_no_shell_can_hold_are_left_out_and_said(name):
    found = environment(Names({name: "x"}), TaskDefinition(task_type="t"))
    assert found.variables == {} and len(found.notes) == 1
    assert name.replace("\n", "?") in found.notes[0], "said as it is written"
    assert environment(Names({}), TaskDefinition(task_type="t", environment={name: "x"})).variables == {}


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (None, ""), (3, "3"), (1.5, "1.5"), (["é", 1], '["é", 1]'), ({"a": None}, '{"a": null}')],
)
def test_values_as_text(value, text):
    assert environment(Names({"V": value}), TaskDefinition(task_type="t")).variables == {"V": text}


def test_long_values_go_to_files():
    long = "é" * 60_000
    found = environment(Names({"V": long, "W": "x", "GitChangedFiles": ["a", "b c"]}), TaskDefinition(task_type="t"))
    assert found.variables == {"W": "x"}
    assert found.files == {"V": long, "GitChangedFiles": "a\nb c\n"}
    assert len(found.notes) == 1 and "100 KiB" in found.notes[0]


def test_many_middling_values_do_not_make_an_environment_that_no_process_takes():
    found = environment(Names({f"V{n}": "x" * 90_000 for n in range(30)}), TaskDefinition(task_type="t"))
    assert sum(map(len, found.variables.values())) <= 1024 * 1024
    assert len(found.variables) + len(found.files) == 30


def test_what_no_variable_can_hold_goes_to_a_file():
    found = environment(Names({"V": "a\0b"}), TaskDefinition(task_type="t"))
    assert found.files == {"V": "a\0b"} and found.variables == {}


def test_the_tables_of_outputs_by_task_are_no_variables():
    found = environment(names_for(None, built_in={}, params={}, outputs={"a": {"x": "1"}}), TASK)
    assert "a" not in found.variables and found.variables["x"] == "1"


def test_the_attempts_own_variables_win_over_those_of_the_plan():
    planned = TaskDefinition(task_type="t", variables={"V": ""})
    names = names_for(None, built_in={}, params={}, task=planned)
    assert environment(names, TaskDefinition(task_type="t", variables={"V": "now"})).variables["V"] == "now"


def test_a_secret_that_an_outsider_gave_is_tainted():
    """T6: the ant fills it in later, so it must not get into a script now."""
    given_ = {"built_in": {}, "params": {"K": "; rm"}, "secret_params": frozenset({"K"})}
    assert names_for(None, **given_, tainted_params=frozenset({"K"})).tainted == {"K"}
    assert names_for(None, **given_).tainted == frozenset()
