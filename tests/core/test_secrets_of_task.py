"""Which secrets a task may see: those that it lists, or those that its text names; and that no other gets near it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loading import SHORT, good, names, refused

from formicary.runner.core.definition import Artifacts, Cache, Hook, Notify, TaskDefinition
from formicary.runner.core.load import attempt, load, plan
from formicary.runner.core.names import (
    environment,
    fill,
    names_for,
    secret_token,
    secrets_in,
    secrets_named,
    secrets_of,
)

CONFIGS = {"DeployKey": "d3ploy", "Token": "t0ken", "Other": "0ther"}


def made(text, **more):
    """The task of an attempt and the names it was made with."""
    own = names(configs=CONFIGS, **more)
    planned = plan(text, 0, own).definition
    task = planned.tasks[0]
    own = names_for(planned, built_in={"JobID": 7}, params={}, configs=CONFIGS, task=task)
    return attempt(text, 0, own, task.task_type), own


def seen(text):
    task, own = made(text)
    values = {name: CONFIGS[name] for name in secrets_of(task, own) & own.configs}
    found = environment(own, task)
    return {name: fill(value, values) for name, value in found.variables.items() if name != "JobID"}, found.notes


def test_a_task_that_names_none_sees_none():
    assert seen(SHORT) == ({}, ())


@pytest.mark.parametrize(
    "line",
    [
        "script: curl -H {{ Token }}",
        "before_script: 'a {{ Token }}'",
        "after_script: ['{{ Token }}']",
        "shell: [sh, '{{ Token }}']",
        "working_dir: '{{ Token }}'",
        "environment: {A: 'x{{ Token }}'}",
        "variables: {A: 'x{{ Token }}'}",
        "variables: {A: [{b: '{{ Token }}'}]}",
        "artifacts: {paths: ['{{ Token }}']}",
        "cache: {key: '{{ Token }}', paths: a}",
        "script: 'curl \"$Token\"'",
        "script: 'echo ${Token} ${#Token} ${Token:-none}'",
        "secrets: [Token]",
    ],
)
def test_a_task_sees_what_its_text_names(line):
    text = f"job_type: ci\n{line}\n" + ("" if line.startswith("script") else "script: make\n")
    found, notes = seen(text)
    assert found.pop("Token") == "t0ken" and not notes
    assert not found.keys() & CONFIGS.keys()


def test_a_variable_made_from_a_secret_goes_where_it_is_named():
    text = "job_type: ci\njob_variables: {Auth: 'Bearer {{ Token }}'}\nscript: "
    found, notes = seen(text + "make\n")
    assert found == {} and "`Token`" in notes[0] and "`Auth`" in notes[0] and "secrets" in notes[0]
    assert seen(text + 'curl -H "$Auth"\n') == ({"Auth": "Bearer t0ken", "Token": "t0ken"}, ())
    assert seen(text + "curl -H '{{ Auth }}'\n")[0]["Auth"] == "Bearer t0ken"


def test_a_list_is_the_last_word():
    task, own = made("job_type: ci\nsecrets: [Token, Token]\nscript: echo $Other $Token\n")
    assert secrets_of(task, own) == {"Token"} and task.secrets == ("Token",)
    assert environment(own, task).variables.keys() & CONFIGS.keys() == {"Token"}
    task, own = made("job_type: ci\nsecrets: []\nscript: echo $Token\n")
    assert secrets_of(task, own) == frozenset()


def test_a_secret_that_is_named_and_not_listed_is_an_error():
    for text in (
        "job_type: ci\nsecrets: [Token]\nscript: echo {{ Other }}\n",
        "job_type: ci\ntasks:\n- task_type: ci\n  secrets: [Token]\n  environment: {A: '{{ Other }}'}\n  script: x\n",
    ):
        own = names(configs=CONFIGS)
        (problem,) = refused(lambda own=own, text=text: attempt(text, 0, own, "ci"))
        assert "`Other`" in problem.message and text.splitlines()[problem.line - 1].strip().startswith("secrets")
    text = "job_type: ci\nparams: {P: {secret: true}}\nsecrets: [Token]\nscript: echo {{ P }}\n"
    own = names({"P": "x"}, secret_params=frozenset({"P"}), configs=CONFIGS)
    assert attempt(text, 0, own, "ci").script, "a secret parameter is no secret config"


@pytest.mark.parametrize("script", ["make", "make {{ JobID }}"])
def test_a_listed_secret_that_is_not_there_is_an_error_of_the_task(script):
    """With a template in the text and without."""
    text = f"job_type: ci\nscript: {script}\nsecrets: [Token, Gone]\n"
    good(text)
    assert plan(text, 0, names()).definition.tasks[0].secrets == ("Token", "Gone")
    for _ in range(2):
        (problem,) = refused(lambda: attempt(text, 0, names(configs=CONFIGS), "ci"))
        assert "`Gone`" in problem.message and (problem.line, problem.column) == (3, 18) and problem.expected
        assert attempt(text, 0, names(configs={**CONFIGS, "Gone": ""}), "ci").secrets == ("Token", "Gone")
    assert len(refused(lambda: attempt(text, 0, names(), "ci"))) == 2


def test_a_name_that_is_not_there_is_no_error_at_load_and_one_at_run_time():
    text = "job_type: ci\nscript: 'deploy {{ DeployKey }}'\nenvironment: {K: '{{ DeployKy }}'}\n"
    assert good(text).tasks[0].script == ("deploy ",)
    assert plan(text, 0, names()).definition
    first, second = refused(lambda: attempt(text, 0, names(), "ci"))
    assert (first.line, second.line) == (2, 3) and "There is no `DeployKey` here" in first.message
    (problem,) = refused(lambda: attempt(text, 0, names(configs=CONFIGS), "ci"))
    assert "did you mean `DeployKey`?" in problem.expected


def test_outsiders_name_no_secret():
    """T6"""
    text = "job_type: ci\nscript: x\nsecrets: ['{{ B }}']\n"
    (problem,) = refused(lambda: attempt(text, 0, names({"B": "Token"}, ["B"], configs=CONFIGS), "ci"))
    assert "outsiders" in problem.message
    assert attempt(text, 0, names({"B": "Token"}, configs=CONFIGS), "ci").secrets == ("Token",)
    forged = names({"B": f"x{secret_token('Token')}"}, configs=CONFIGS)
    text = "job_type: ci\nscript: x\nenvironment: {A: '{{ B }}'}\n"
    assert secrets_of(attempt(text, 0, forged, "ci"), forged) == frozenset()


def test_names_of_secrets_yield_to_built_ins_and_to_secret_parameters():
    own = names_for(
        None,
        built_in={"JobID": 7},
        params={"P": "mine", "Q": "param"},
        secret_params=frozenset({"P"}),
        configs={"JobID": "x", "P": "shared", "Q": "shared"},
    )
    assert own.configs == {"Q"} and own.secrets == {"P": "mine", "Q": "shared"}
    assert own.values == {"JobID": 7, "P": secret_token("P"), "Q": secret_token("Q")}


def test_an_untrusted_run_sees_none_and_the_queen_may_still_send():
    """T3"""
    text = "webhook: {url: https://h.example, headers: {A: '{{ Token }}'}}\njob_type: ci\ntasks:\n- task_type: ci\n"
    text += "  webhook: {url: https://h.example, headers: {A: '{{ Token }}'}}\n  script: "
    own = names(configs=CONFIGS, withheld=True)
    planned = plan(text + "make $Other\n", 0, own).definition
    task = attempt(text + "make $Other\n", 0, own, "ci")
    assert secrets_in(planned.webhook) == secrets_in(task.webhook) == {"Token"}
    assert secrets_of(task, own) == frozenset() and not environment(own, task).variables.keys() & CONFIGS.keys()
    (problem,) = refused(lambda: attempt(text + "make {{ Other }}\n", 0, own, "ci"))
    assert "`Other`" in problem.message and "outsiders" in problem.expected and problem.line == 4
    for script in ("x\n", "'{{ JobID }}'\n"):
        (problem,) = refused(lambda script=script: attempt(f"{text}{script}  secrets: [Token]\n", 0, own, "ci"))
        assert "There is no secret `Token` for this run" in problem.message
    listed = "job_type: ci\nscript: x\nsecrets: [Token]\n"
    assert refused(lambda: attempt(listed, 0, own, "ci")) and attempt(listed, 0, names(configs=CONFIGS), "ci")


def test_what_the_queen_sends_is_not_for_the_task():
    token = secret_token("Hook")
    task = TaskDefinition(
        task_type="t",
        script=(f"a{secret_token('A')}b{secret_token('B')}",),
        cache=(Cache(key=secret_token("C")),),
        artifacts=Artifacts(paths=(secret_token("D"),)),
        variables={"E": {secret_token("E"): [1, None, secret_token("F")]}},
        webhook=Hook(url=token, headers={"a": token}),
        notify=(Notify(channel="urls", recipients=(secret_token("Who"),)),),
    )
    assert secrets_of(task) == set("ABCDEF")
    assert secrets_in(task.webhook, task.notify) == {"Hook", "Who"}
    assert secrets_named(task.model_copy(update={"secrets": ("Z",)})) == set("ABCDEF")
    listed = "job_type: ci\ntasks:\n- task_type: ci\n  script: x\n  secrets: []\n"
    listed += "  webhook: {url: https://h.example, headers: {A: '{{ Token }}'}}\n"
    task = attempt(listed, 0, names(configs=CONFIGS), "ci")
    assert secrets_of(task) == frozenset() and secrets_in(task.webhook) == {"Token"}


@given(st.lists(st.sampled_from(["$", "{", "}", "Token", "Other", '"', " ", "#", "x", "{{ Token }}"]), max_size=12))
def test_the_environment_never_holds_a_secret_that_the_task_does_not_see(parts):
    body = (
        "".join(parts).replace("{{ Token }}", "\0").replace("{{", "{").replace("}}", "}").replace("\0", "{{ Token }}")
    )
    text = "job_type: ci\njob_variables: {Made: ['{{ Other }}']}\nscript:\n- |\n  make " + body + "\n"
    if any(one.problems for one in load(text, path="f")):
        return  # braces that make a template of their own
    task, own = made(text)
    found = environment(own, task)
    assert secrets_in(found.variables) <= secrets_of(task, own)
    assert ("Token" in secrets_of(task, own)) >= ("{{ Token }}" in body)
