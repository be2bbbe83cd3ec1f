"""The go dialect of definitions: each row of the table of two dialects, and what its templates mean there."""

import resource

import pytest
from costs import within
from loading import names, refused

from formicary.runner.core.definition import Checkout
from formicary.runner.core.load import attempt, load, plan
from formicary.runner.core.names import names_for

SHORT = "job_type: ci\nscript: [make]\n"


def one(text, dialect="go"):
    (found,) = load(text, path="ci.yml", dialect=dialect)
    return found


def good(text):
    found = one(text)
    assert not found.problems, "\n".join(map(str, found.problems))
    return found.definition


def warned(text):
    """(line, message) of each warning of a job that loads all the same."""
    found = one(text)
    assert found.definition is not None and not found.problems
    assert all(warning.severity == "warning" and warning.expected for warning in found.warnings)
    return [(warning.line, warning.message) for warning in found.warnings]


# --- which dialect


def test_template_says_the_dialect_of_a_document_whatever_the_setting():
    text = "job_type: a\nscript: x\n---\njob_type: b\ntemplate: go # old\nscript: echo {{.X}}\n---\n"
    text += 'job_type: c\ntemplate: "native"\nscript: echo {{ JobID }}\n'
    for dialect, first in (("native", "native"), ("go", "go")):
        found = load(text, path="f", dialect=dialect)
        assert not [problem for each in found for problem in each.problems]
        assert [each.dialect for each in found] == [first, "go", "native"]
        assert [each.definition.tasks[0].fresh_shell for each in found] == [first == "go", True, False]


def test_a_text_that_is_read_otherwise_is_another_version():
    digests = {dialect: one(SHORT, dialect).digest for dialect in ("native", "go")}
    assert digests["native"] != digests["go"]
    said = f"{SHORT}template: go\n"
    assert one(said, "native").digest == one(said, "go").digest


@pytest.mark.parametrize("text", ["{job_type: ci, script: x, template: go}", f'{SHORT}"template": go\n'])
def test_template_must_be_seen_before_anything_is_parsed(text):
    (problem,) = one(text, "native").problems
    assert "`template`" in problem.message and "line" in problem.expected


def test_nothing_is_guessed():
    native, go = f"{SHORT}description: '{{{{ JobID }}}}'\n", f"{SHORT}description: '{{{{.JobID}}}}'\n"
    (problem,) = one(native).problems
    assert problem.line == 3 and "native templates" in problem.message and "template: native" in problem.expected
    (problem,) = one(go, "native").problems
    assert problem.line == 3 and "Go templates" in problem.message and "template: go" in problem.expected
    assert not one(native, "native").problems and not one(go).problems


# --- the table, row by row


def test_a_missing_name_is_empty():
    text = """job_type: ci
description: "<{{.No}}>"
timeout: {{.No}}
tasks:
- task_type: t
  retry: {{.No}}
  script: ["echo {{.No.more}}", "{{if .No}}never{{else}}else{{end}}", "{{if eq .No `x`}}never{{end}}"]
  on_completed: {{.No}}
"""
    good(text)
    planned = plan(text, 0, names(), dialect="go").definition
    assert (planned.description, planned.timeout, planned.tasks[0].retry.attempts) == ("<>", 7200, 0)
    task = attempt(text, 0, names(), "t", dialect="go")
    assert task.script == ("echo ", "else", "") and task.on_completed is None


def test_an_order_needs_a_value_when_it_is_known_who_has_none():
    text = f"{SHORT}description: '{{{{lt .Size 3}}}}'\n{{{{if lt .Size 3}}}}\ntimeout: 1s\n{{{{end}}}}\n"
    good(text)
    for problem in refused(lambda: plan(text, 0, names(), dialect="go")):
        assert problem.line in (3, 4) and "no order" in problem.message and "default" in problem.expected
    assert plan(text, 0, names({"Size": 2}), dialect="go").definition.timeout == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("colour: red", "`colour` is not a key of a job"),
        ("artifacts: {paths: [a], keys: [b]}", "`keys` is not a key of artifacts"),
        ("cron_missed: never", "`never` is none of"),
        ("artifacts: {when: sometimes}", "`sometimes` is none of"),
        ("dependencies: [gone]", "`gone` under `dependencies` is not a task"),
        ("needs: [gone]", "`gone` under `needs` is not a task"),
        ("method: TELEPATHY", "`TELEPATHY` is none of"),
        ("on_exit_code: {APPLES: FATAL}", "`APPLES` is not an exit code"),
        ("notify: {pigeon: {recipients: [a]}}", "`pigeon` is not a key of notify"),
    ],
)
def test_what_the_original_lets_pass_is_a_warning(line, message):
    ((number, told),) = warned(f"{SHORT}{line}\n")
    assert number == 3 and message in told
    assert one(f"{SHORT}{line}\n", "native").problems


def test_many_lost_dependencies_are_warnings_too():
    text = "job_type: ci\ntasks:\n- {task_type: a, script: [x]}\n"
    text += f"- {{task_type: b, script: [x], needs: [{', '.join(f'n{index}' for index in range(20))}]}}\n"
    assert warned(text) and one(text, "native").problems


@pytest.mark.parametrize(
    "line",
    [
        "triggers: {comment: {}}",
        "timeout: soon",
        "on_completed: gone",
        "retry: many",
        "job_type: b",
        "script: {a: b}",
        "triggers:\n- {name: a, type: s3, params: {K: '{{.Object.Key}}'}}",
    ],
)
def test_what_is_wrong_in_itself_or_comes_later_is_an_error(line):
    assert one(f"{SHORT}{line}\n").problems


def test_types_of_the_original_s_triggers_are_refused_by_name_and_not_for_their_templates():
    text = f"{SHORT}triggers:\n- name: a\n  type: queue\n  filter: '{{{{eq .Message.x `y`}}}}'\n"
    (problem,) = one(text).problems
    assert "Not supported yet" in problem.message and "`queue`" in problem.message


def test_lines_have_shells_of_their_own_and_nothing_is_checked_out_unasked():
    task = good(SHORT).tasks[0]
    assert task.fresh_shell and not task.checkout.enabled
    assert good(f"{SHORT}checkout: {{depth: 3}}\n").tasks[0].checkout == Checkout(depth=3)
    native = one(SHORT, "native").definition.tasks[0]
    assert not native.fresh_shell and native.checkout.enabled
    text = "job_type: ci\ntasks:\n- {task_type: a, script: ['{{.JobID}}']}\n"
    assert attempt(text, 0, names(), "a", dialect="go").fresh_shell


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60), ("1h30m", 5400), ("1.5h", 5400), ("1m0.5s", 60.5), ("250ms", 0.25), ("2m1h", 3720)],
)
def test_durations_are_what_go_takes(text, seconds):
    assert good(f"{SHORT}timeout: {text}\n").timeout == seconds


@pytest.mark.parametrize("text", ["1.5", "5x", "-5s", "1h-3m", ""])
def test_other_durations_are_none(text):
    assert bool(one(f"{SHORT}timeout: '{text}'\n").problems) is (text != "1.5")


def test_words_that_the_original_spells_otherwise():
    text = f"{SHORT}retry_backoff_policy: {{min: 1s, jitter: true}}\n"
    assert good(text).tasks[0].retry.backoff.jitter == 1
    text = f"{SHORT}notify: {{slack: {{recipients: [team-reports], when: onFailure}}}}\n"
    assert good(text).notify[0].recipients == ("#team-reports",)
    found = one(f"{SHORT}notify: {{email: {{recipients: [a@b.example], when: none}}}}\n")
    assert found.definition.notify[0].when == "never" and found.warnings


@pytest.mark.parametrize("call", ['printf "%03d" .No', "Add .No 1", "Random .No 5", "len (Iterate .No)", "le .No 5"])
def test_what_needs_a_value_is_told_when_one_should_be_there(call):
    text = f"{SHORT}description: '{{{{{call}}}}}'\nmax_concurrency: {{{{if eq 1 (Add .No 1)}}}}1{{{{end}}}}\n"
    good(text)
    problems = refused(lambda: plan(text, 0, names(), dialect="go"))
    assert [problem.line for problem in problems if "3:" in str(problem)] == [3]
    assert plan(text, 0, names({"No": 2}), dialect="go")


def test_a_webhook_of_which_nobody_says_where_is_left_out():
    text = f"{SHORT}webhook: {{url: {{{{.Where}}}}}}\n"
    good(text)
    assert plan(text, 0, names(), dialect="go").definition.webhook is None
    assert plan(text, 0, names({"Where": "https://h.example/"}), dialect="go").definition.webhook
    assert refused(lambda: plan(text, 0, names({"Where": "nowhere"}), dialect="go"))


# --- templates


TASKS = """job_type: ci
job_variables:
  Image: "app:{{.Version}}"
  Count: 2
tasks:
  {{- range $i := Iterate .Count }}
  - task_type: step-{{$i}}
    script:
      - echo {{$i}} {{$.Image}}
      {{if lt $i 1}}
      - first
      {{else}}
      - later
      {{end}}
    {{ if lt $i 1 }}
    on_completed: step-{{Add $i 1}}
    {{ end }}
  {{ end }}
"""


def test_templates_make_tasks_and_lines():
    for job in (good(TASKS), plan(TASKS, 0, names(), dialect="go").definition):
        assert [(task.task_type, task.script) for task in job.tasks] == [
            ("step-0", ("echo 0 app:", "first")),
            ("step-1", ("echo 1 app:", "later")),
        ]
        assert job.tasks[0].on_completed.name == "step-1"
    planned = plan(TASKS, 0, names({"Count": 3, "Version": "7"}), dialect="go").definition
    assert len(planned.tasks) == 3 and planned.job_variables["Image"] == "app:7"


def test_positions_stay_true():
    text = TASKS.replace("- later", "- {{.x | nothing}}").replace("    on_completed", "    on_complted")
    found = one(text)
    assert [problem.line for problem in found.problems] == [13]
    found = one(TASKS.replace("    on_completed", "    on_complted"))
    assert [(warning.line, warning.column) for warning in found.warnings] == [(16, 5)]


def test_random_is_drawn_anew_for_each_attempt_and_the_same_within_it():
    text = f"{SHORT}variables: {{R: '{{{{Random 0 1000000}}}}'}}\n"
    base = names_for(None, built_in={}, params={})

    def drawn(seed):
        return attempt(text, 0, type(base)(base.values, seed=seed), "ci", dialect="go").variables["R"]

    assert drawn(1) == drawn(1) != drawn(2)


def test_a_tainted_value_reaches_no_code_by_any_way():
    """T6"""
    lines = ("{{.P}}", "{{with .P}}{{.}}{{end}}", "{{if $x := .P}}{{$x}}{{end}}", "{{printf `%s` .P}}", "{{.J}}")
    lines += (
        "{{range $i, $v := .L}}{{$v}}{{end}}",
        "{{range .L}}{{$.Safe}}{{end}}",
        "{{or .No .P}}",
        "{{index $ `P`}}",
    )
    for line in lines:
        text = f"job_type: ci\njob_variables: {{J: '{{{{.P}}}}'}}\nscript:\n- 'echo {line}'\n"
        given = {"P": "$(evil)", "L": ["$(evil)"], "Safe": "$(safe)"}
        found = names_for(None, built_in={}, params=given, tainted_params=frozenset({"P", "L"}))
        plan(text, 0, found, dialect="go")
        (problem,) = refused(lambda text=text, found=found: attempt(text, 0, found, "ci", dialect="go"))
        assert problem.line == 4 and "outsiders" in problem.message


HEAD = "job_type: a\nscript: "
RUNAWAYS = {
    "loops": HEAD + '"{{range Iterate 99999}}{{range Iterate 99999}}x{{end}}{{end}}"',
    "loop bodies": HEAD + '"{{range Iterate 99999}}{{Add 1 (Add 1 (Add 1 (Add 1 1)))}}{{end}}"',
    "parentheses": HEAD + '"{{' + "(" * 5000 + "1" + ")" * 5000 + '}}"',
    "pipes": HEAD + '"{{1' + "|lower" * 6000 + '}}"',
    "arguments": HEAD + "'{{or" + " 1" * 9000 + "}}'",
    "open blocks": HEAD + "'" + "{{if 1}}" * 30_000 + "'",
    "else ifs": HEAD + "'{{if 0}}" + "{{else if 0}}a" * 2900 + "{{end}}'",
    "open tags": HEAD + "'" + "{{" * 100_000 + "'",
    "bad tags": HEAD + "'" + "{{ .a .b }}" * 2900 + "'",
    "more bad tags": HEAD + "'" + "{{ ' }}" * 30_000 + "'",
    "comments": HEAD + "'" + "{{/*" * 50_000 + "'",
    "spaces": HEAD + "'{{" + " " * 200_000 + "'",
    "blank lines": HEAD + "x\n" + "\n" * 100_000 + "{{if 1}}\n" * 40 + "\n" * 90_000 + "{{end}}\n" * 40,
    "statements": "job_type: a\nscript: x\n" + "{{if 1}}{{end}}\n" * 1400 + " " * 200_000,
    "strings": HEAD + "'{{`" + "x" * 200_000 + "'",
    "numbers": HEAD + "'{{" + "1" * 200_000 + "}}'",
    "fields": HEAD + "'{{" + ".a" * 100_000 + "}}'",
    "declarations": HEAD + "'{{range " + "$a, " * 4000 + ":= 1}}{{end}}'",
    "doubled": HEAD + "'{{with Dict `a` 1}}" + "{{with Dict `a` . `b` .}}" * 60 + "{{.}}" + "{{end}}" * 61 + "'",
    "wide verbs": HEAD + "'{{range Iterate 99999}}{{printf `" + "%200d" * 90 + "` " + "1 " * 90 + "}}{{end}}'",
    "growing variable": HEAD + "x\njob_variables: {v: '" + "{{.v}}x" * 1000 + "'}\n",
    "made tasks": "job_type: a\ntasks:\n{{range Iterate 9000}}\n- {task_type: 't{{.}}', script: [a]}\n{{end}}\n",
}


@pytest.mark.parametrize("name", RUNAWAYS)
def test_no_input_runs_away(name):
    """T13, T16: half a second and 100 MiB at most. CPU time, as the machine may be busy."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = within(0.5, lambda: load(RUNAWAYS[name], path="f.yml", dialect="go"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024
    assert any(each.problems for each in found) or name in ("else ifs", "blank lines", "statements", "fields")
