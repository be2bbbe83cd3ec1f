"""Definitions with templates: what shapes the graph, what is rendered anew, what is tainted."""

import pytest
from loading import SHORT, bad, good, names, one, refused

from formicary.runner.core.load import attempt, plan
from formicary.runner.core.loading.keys import JOB, TASK
from formicary.runner.core.names import names_for

MATRIX = """job_type: ci
params: {Version: {default: "1"}}
job_variables: {Image: "app:{{ Version }}", Full: "{{ Image }}-x"}
tasks:
{% for v in ["3.10", "3.11"] %}
  - task_type: test-{{ v }}
    script: "run {{ v }} {{ Full }}"
    needs: [build]
{% endfor %}
  - task_type: build
    script: echo {{ Later }} {{ GitBranch }}
"""


def test_templates_make_tasks_and_variables_see_params():
    job = good(MATRIX)
    assert [task.task_type for task in job.tasks] == ["test-3.10", "test-3.11", "build"]
    assert job.tasks[0].script == ("run 3.10 app:1-x",) and job.tasks[2].script == ("echo  main",)


def test_plan_and_attempt_render_with_their_own_names():
    planned = plan(MATRIX, 0, names({"Version": "2"}))
    assert planned.definition.job_variables == {"Image": "app:2", "Full": "app:2-x"}
    own = names_for(
        planned.definition,
        built_in={"GitBranch": "dev"},
        params={"Version": "2"},
        outputs={"test-3.10": {"Later": "now"}},
        task=planned.definition.task("build"),
    )
    assert attempt(MATRIX, 0, own, "build").script == ("echo now dev",)
    assert attempt(MATRIX, 0, own, "test-3.11").script == ("run 3.11 app:2-x",)


def test_a_missing_name_is_an_error_at_the_attempt_with_its_place():
    (problem,) = refused(lambda: attempt(MATRIX, 0, names({"Latr": 1, "GitBranch": "x"}), "build", path="p.yml"))
    assert (problem.path, problem.line, problem.column) == ("p.yml", 11, 21)
    assert "`Later`" in problem.message and "did you mean `Latr`?" in problem.expected and "default" in problem.expected


def test_a_missing_name_in_what_shapes_the_graph_is_an_error_at_the_plan():
    text = (
        "job_type: ci\ntasks:\n- task_type: a\n  script: x\n"
        "  timeout: '{{ T }}'\n  on_completed: '{{ Next }}'\n- task_type: b\n"
    )
    assert good(text).tasks[0].on_completed is None
    assert [problem.line for problem in refused(lambda: plan(text, 0, names()))] == [5, 6]
    assert plan(text, 0, names({"T": "5m", "Next": "b"})).definition.tasks[0].timeout == 300


def test_a_missing_name_in_control_flow():
    text = "job_type: ci\ntasks:\n- task_type: a\n  script:\n  - x\n{% if Out %}\n  - y\n{% endif %}\n"
    assert plan(text, 0, names()).definition.tasks[0].script == ("x",)
    assert [problem.line for problem in refused(lambda: attempt(text, 0, names(), "a"))] == [6]
    assert attempt(text, 0, names({"Out": True}), "a").script == ("x", "y")
    shaped = text + "{% if Other %}\n- task_type: b\n  script: z\n{% endif %}\n"
    assert [problem.line for problem in refused(lambda: plan(shaped, 0, names()))] == [9]


def test_default_opts_out():
    text = "job_type: ci\nscript: 'echo {{ X | default(\"d\") }}'\n"
    assert attempt(text, 0, names(), "ci").script == ("echo d",)


def test_graph_errors_first_seen_at_the_plan_have_their_place():
    text = "job_type: ci\ntasks:\n- task_type: a\n  script: x\n  needs: ['{{ N }}']\n- task_type: b\n"
    good(text)
    (problem,) = refused(lambda: plan(text, 0, names({"N": "c"}), path="f"))
    assert (problem.line, problem.column) == (5, 11)


@pytest.mark.parametrize(
    "line",
    [
        "job_type: ci-{{ GitBranch }}",
        "job_type: ci\nparams: {A: {default: '{{ X }}'}}",
        "job_type: ci\nparams:\n{% if X %}\n  A: {}\n{% endif %}\n  B: {}",
        "{% if true %}\njob_type: ci\n{% endif %}",
        "job_type: ci\ntriggers: {push: {branches: ['{{ B }}']}}",
        "job_type: ci\ncron_trigger: '0 {{ H }} * * *'",
        "job_type: ci\nrequired_params: ['{{ P }}']",
        "job_type: ci\ntimezone: '{{ Z }}'",
    ],
)
def test_static_keys_hold_no_template(line):
    found = bad(f"{line}\nscript: x\n")
    assert any("may not hold a template" in problem.message and problem.line for problem in found)


def test_a_template_after_a_static_key_is_none_of_its_business():
    good("job_type: ci\nparams:\n  A: {}\n{% if X %}\ntags: [a]\n{% endif %}\nscript: x\n")


def test_a_value_never_becomes_yaml():
    text = "job_type: ci\nvariables: {V: '{{ P }}', W: {{ P }}}\nscript: x\n"
    evil = '"\n- task_type: evil\n  script: [rm]\n# {{ x }}'
    job = plan(text, 0, names({"P": evil})).definition
    assert len(job.tasks) == 1 and job.tasks[0].variables == {"V": evil, "W": evil}


def test_a_plain_scalar_of_one_token_has_the_type_of_its_text():
    text = (
        "job_type: ci\npriority: {{ P }}\n"
        "variables: {A: {{ P }}, B: '{{ P }}', C: {{ L }}, D: x{{ P }}}\nscript: {{ L }}\n"
    )
    job = plan(text, 0, names({"P": "3", "L": ["a", {"b": 1}]})).definition
    assert job.priority == 3
    assert job.tasks[0].variables == {"A": 3, "B": "3", "C": ["a", {"b": 1}], "D": "x3"}
    assert job.tasks[0].script == ("a", '{"b": 1}')


def test_tokens_in_keys():
    text = "job_type: ci\nenvironment: {'{{ K }}_X': 1}\nscript: x\n"
    assert attempt(text, 0, names({"K": "a: b"}), "ci").environment == {"a: b_X": "1"}
    twice = "job_type: ci\nenvironment: {'{{ K }}': 1, '{{ L }}': 2}\nscript: x\n"
    (problem,) = refused(lambda: attempt(twice, 0, names({"K": "a", "L": "a"}), "ci"))
    assert "twice" in problem.message


@pytest.mark.parametrize("key", ["before_script", "script", "after_script", "shell", "working_dir", "tags"])
@pytest.mark.parametrize("evil", ["$(rm)", "a b", "-x", "a\nb", "'", "é"])
def test_an_untrusted_value_never_becomes_code(key, evil):
    """T6"""
    text = f"job_type: ci\nscript: x\n{key}: '{{{{ Msg }}}}'\n".replace("script: x\nscript", "script")
    for call in (lambda: attempt(text, 0, names({"Msg": evil}, ["Msg"]), "ci"),):
        (problem,) = refused(call)
        assert '"$Msg"' in problem.expected and problem.line
    attempt(text, 0, names({"Msg": evil}), "ci")
    attempt(text, 0, names({"Msg": "release/1.2"}, ["Msg"]), "ci")


@pytest.mark.parametrize("field", ["key: '{{ M }}'", "key_paths: ['{{ M }}']", "fallback_keys: ['{{ M }}']"])
def test_cache_keys_are_code(field):
    """T6"""
    text = f"job_type: ci\nscript: x\ncache: {{paths: [a], {field}}}\n"
    assert refused(lambda: attempt(text, 0, names({"M": "a b"}, ["M"]), "ci"))


def test_lists_of_outsiders_are_no_code_either():
    """T6"""
    for text in (
        "job_type: ci\nscript: {{ L }}\n",
        "job_type: ci\nscript:\n{% for x in L %}\n- echo {{ x }}\n{% endfor %}\n- done\n",
        "job_type: ci\nscript: \"{{ 'safe' if L else '; rm' }} {{ L | join(' ') }}\"\n",
    ):
        assert refused(lambda text=text: attempt(text, 0, names({"L": ["ok", "; rm"]}, ["L"]), "ci"))


def test_taint_goes_through_variables():
    """T6"""
    text = (
        "job_type: ci\njob_variables: {A: 'x {{ M }}'}\nvariables: {B: '{{ A }}', C: c}\nscript: echo {{ B }} {{ C }}\n"
    )
    given = names({"M": ";"}, ["M"])
    planned = plan(text, 0, given)
    assert planned.tainted == {"A"} and planned.definition.tasks[0].tainted_variables == ("B",)
    assert ";" not in planned.definition.tasks[0].script[0]
    own = names_for(
        planned.definition,
        built_in={},
        params={"M": ";"},
        tainted_params=frozenset({"M"}),
        task=planned.definition.tasks[0],
    )
    assert {"A", "B"} <= own.tainted
    (problem,) = refused(lambda: attempt(text, 0, own, "ci"))
    assert problem.line == 4


@pytest.mark.parametrize(
    "task", ["fork_job_type: 'build-{{ P }}'", "fan_out: {source: [1], item_var: i, fork_job_type: '{{ P }}'}"]
)
def test_which_job_is_forked_may_be_known_later(task):
    found = one(f"job_type: ci\nrequired_params: [P]\ntasks:\n- task_type: t\n  method: FORK_JOB\n  {task}\n")
    assert found.problems == ()


def test_branch_names_are_tainted_without_being_told():
    """T6"""
    text = "job_type: ci\nscript: git checkout {{ GitBranch }}\n"
    assert attempt(text, 0, names({"GitBranch": "main"}), "ci").script == ("git checkout main",)
    assert refused(lambda: attempt(text, 0, names({"GitBranch": "$(id)"}), "ci"))


def test_a_ref_to_check_out_may_be_known_later_and_is_a_plain_word_where_it_is_tainted():
    """T6"""
    text = 'job_type: ci\nscript: make\ncheckout: {ref: "{{ GitBranch }}", depth: 1}\n'
    own = attempt(text, 0, names({"GitBranch": "release/1.x"}), "ci")
    assert (own.checkout.ref, own.checkout.depth) == ("release/1.x", 1)
    (problem,) = refused(lambda: attempt(text, 0, names({"GitBranch": "a b"}), "ci"))
    assert problem.line == 3 and "the ref" in problem.expected
    assert refused(lambda: attempt(text, 0, names({"GitBranch": "-b"}), "ci"))
    assert good("job_type: ci\nscript: make\ncheckout: {ref: 'a b'}\n").tasks[0].checkout.ref == "a b"


def test_sentences_of_outsiders_in_code_are_warned_of_at_load():
    found = one("job_type: ci\nscript: echo {{ GitCommitMessage }}\n")
    (warning,) = found.warnings
    assert warning.severity == "warning" and warning.line == 2 and '"$GitCommitMessage"' in warning.expected


def test_a_secret_is_never_in_rendered_text():
    text = "job_type: ci\nparams: {Key: {secret: true}}\nscript: curl -H {{ Key }}\nvariables: {V: 'a {{ Key }}'}\n"
    given = names({"Key": "hunter2"}, secret_params=frozenset({"Key"}))
    planned = plan(text, 0, given)
    task = attempt(text, 0, given, "ci")
    assert "hunter2" not in planned.definition.model_dump_json() + task.model_dump_json()
    from formicary.runner.core.names import fill

    assert fill(task.script[0], given.secrets) == "curl -H hunter2"
    assert fill(str(task.variables["V"]), given.secrets) == "a hunter2"


def test_a_task_may_use_its_own_variables():
    text = (
        "job_type: ci\ntasks:\n- task_type: a\n"
        "  variables: {T: 5m, N: '{{ T }}!'}\n  timeout: '{{ T }}'\n  script: '{{ N }}'\n"
    )
    planned = plan(text, 0, names())
    assert planned.definition.tasks[0].timeout == 300
    assert attempt(text, 0, names({"T": "9m"}), "a").script == ("5m!",)


def test_outputs_win_over_variables_of_the_task():
    text = "job_type: ci\ntasks:\n- task_type: a\n  variables: {V: own}\n  script: '{{ V }}'\n"
    own = names_for(None, built_in={}, params={"V": "param"}, outputs={"b": {"V": "out"}})
    assert attempt(text, 0, own, "a").script == ("out",)


def test_constants_are_the_same_object_each_time():
    text = "job_type: ci\nscript: x\n"
    assert plan(text, 0, names()) is plan(text, 0, names({"A": 1}))
    assert attempt(text, 0, names(), "ci") is plan(text, 0, names()).definition.tasks[0]


def test_a_wrong_text_raises_at_plan_and_attempt():
    assert refused(lambda: plan("job_type: [", 0, names()))
    assert refused(lambda: attempt("job_type: a\nscript: x\n", 0, names(), "nobody"))
    assert refused(lambda: plan("job_type: a\nscript: x\n", 3, names()))


def test_line_ends_and_byte_order_mark():
    assert good("\ufeffjob_type: ci\r\nscript: |\r\n  a\r\n  b\r\n").tasks[0].script == ("a\nb\n",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("job_type: a\0", "U+0000"),
        ("job_type: a\x1b", "U+001B"),
        ("job_type: \ud800", "UTF-8"),
        ("job_type: \U0010f000", "reserved"),
        ("#" * 300_000, "256 KiB"),
        ("# é" * 100_000, "256 KiB"),
    ],
)
def test_what_no_file_may_hold_is_one_clear_error(text, words):
    (problem,) = bad(text)
    assert words in problem.message and problem.expected


def test_positions_stay_true_behind_templates():
    text = (
        "job_type: ci\ntasks:\n{% for i in [1] %}\n  - task_type: t{{ i }}\n    script: {{ i }}\n"
        "{% if i -%}\n    nope: {{ i }}{% endif %}\n{% endfor %}\nmore: 1\n"
    )
    assert [(problem.line, problem.column) for problem in bad(text)] == [(7, 5), (9, 1)]


def test_every_key_is_in_the_table():
    """The table is what a schema is made of: each key has a shape."""
    assert all(key.shape for key in (*JOB.keys.values(), *TASK.keys.values()))


def test_outsiders_name_no_variable_of_the_environment():
    """T7: `environment` may set PATH."""
    text = "job_type: ci\nscript: x\nenvironment: {'{{ K }}': 1, B: '{{ K }}'}\n"
    assert refused(lambda: attempt(text, 0, names({"K": "PATH"}, ["K"]), "ci"))
    assert attempt(text, 0, names({"K": "PATH"}), "ci").environment == {"PATH": "1", "B": "PATH"}


def test_many_tasks_may_be_shaped_by_variables_of_their_own():
    text = "job_type: ci\ntasks:\n{% for i in range(60) %}\n- task_type: t{{ i }}\n"
    text += "  variables: {T: '{{ i }}m'}\n  timeout: '{{ T }}'\n  script: x\n{% endfor %}\n# " + "x" * 20_000
    assert [task.timeout for task in plan(text, 0, names()).definition.tasks] == [60.0 * n for n in range(60)]


def test_plans_of_several_names_do_not_mix():
    text = "job_type: ci\nparams: {P: {default: d}}\njob_variables: {V: '{{ P }}'}\nscript: echo {{ V }}\n"
    for value in ("a", "b", "a"):
        assert plan(text, 0, names({"P": value})).definition.tasks[0].script == (f"echo {value}",)
    assert plan(text, 0, names()).definition.tasks[0].script == ("echo d",)


def test_a_key_without_a_value_says_nothing():
    job = good(
        "job_type: ci\nscript: x\ntimeout:\nretry: ~\nartifacts:\ncheckout:\ntags:\nallow_failure: null\nmethod:\n"
    )
    assert job.tasks[0] == good(SHORT.replace("make", "x")).tasks[0]


def test_an_empty_list_takes_a_default_back():
    text = "job_type: ci\nbefore_script: [a]\ntags: [b]\ntasks:\n"
    text += "- task_type: t\n  before_script:\n  tags: []\n  script: x\n"
    assert (good(text).tasks[0].before_script, good(text).tasks[0].tags) == ((), ())


def test_keys_with_a_dot_hold_what_anchors_share():
    text = ".base: &base {timeout: 5m, script: x}\njob_type: ci\ntasks:\n- {<<: *base, task_type: a}\n"
    assert good(text).tasks[0].timeout == 300


def test_names_made_of_what_is_not_known_yet_are_no_doubles():
    text = "job_type: ci\ntasks:\n"
    text += "- {task_type: 'a-{{ X }}', script: x}\n- {task_type: 'a-{{ Y }}', script: x, needs: [a-1]}\n"
    assert len(good(text).tasks) == 2
    assert plan(text, 0, names({"X": 1, "Y": 2})).definition.tasks[1].task_type == "a-2"
    assert refused(lambda: plan(text, 0, names({"X": 2, "Y": 2})))


def test_a_filter_that_does_not_fit_says_what_to_do():
    (problem,) = bad('job_type: ci\nscript: "{{ [1] | upper }}"\n')
    assert "`upper` takes text" in problem.message and problem.expected and (problem.line, problem.column) == (2, 10)
