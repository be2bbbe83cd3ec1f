"""Text in, definitions out, or everything that is wrong with it at its place."""

import pytest
from loading import SHORT, bad, good

from formicary.runner.core.load import load


def test_a_job_of_one_task():
    job = good("job_type: ci\ndescription: d\nretry: 2\ntimeout: 5m\nvariables: {A: 1}\nscript: [a, [b, c], ]\n")
    (task,) = job.tasks
    assert (task.task_type, task.script, task.retry.attempts, task.variables) == ("ci", ("a", "b", "c"), 2, {"A": 1})
    assert (job.timeout, task.timeout, job.retry.attempts, job.description) == (300, 300, 0, "d")


def test_the_job_gives_defaults_to_its_tasks():
    job = good("""
job_type: ci
tags: [linux]
environment: {A: a, B: b}
before_script: [prepare]
after_script: tidy
working_dir: src
method: SHELL
cache: {paths: [x]}
tasks:
  - task_type: one
    environment: {B: c}
    tags: [big, ~]
    script: a
  - task_type: two
    before_script: []
    script: b
""")
    one_, two = job.tasks
    assert one_.environment == {"A": "a", "B": "c"} and one_.tags == ("big",) and one_.before_script == ("prepare",)
    assert two.before_script == () and two.after_script == ("tidy",) and two.tags == ("linux",)
    assert two.working_dir == "src" and two.cache[0].paths == ("x",)


def test_everything_a_task_may_say():
    job = good(
        """
job_type: ci
triggers:
  - push: {branches: [main, "release/*"], tags: v*, paths: [src/**], every_commit: true}
  - commit:
cron_trigger: "0 3 * * *"
timezone: Europe/Berlin
cron_missed: none
params: {Version: {default: 3.10, enum: [3.10, 3.11], pattern: "^3"}, Key: {secret: true}, Free: }
required_params: [Version]
job_variables: [{name: A, value: 1}, {name: B, value: [x]}]
skip_if: "{{ GitBranch == 'x' }}"
max_concurrency: 1
priority: -3
retry: 1
delay_between_retries: 500ms
retry_backoff_policy: {min: 1s, max: 1h30m, factor: 3, jitter: 0.5}
tasks:
  - task_type: a
    on_completed: b
    on_failed: FATAL
    on_exit_code: {2: b, 3: COMPLETED, 4: ERR_NO, SKIPPED: b}
    script: |
      one
      two
    shell: [bash, -c]
    checkout: {depth: 0}
    allow_failure: [1, 2]
    artifacts: {paths: dist/, exclude: ["*.o"], when: always, expires_after: 90}
    cache: [{key: "k-{{ GitBranch }}", key_paths: lock, paths: [x], policy: pull}]
    except: "{{ JobRetry > 3 }}"
  - task_type: b
    dependencies: a
    always_run: yes
""".replace("always_run: yes", "always_run: true")
    )
    a, b = job.tasks
    assert job.triggers.push.tags == ("v*",) and job.triggers.commit is not None
    assert job.params["Version"].default == "3.10" and job.params["Version"].enum == ("3.10", "3.11")
    assert job.retry.delay == 0.5 and job.retry.backoff.max == 5400 and job.job_variables == {"A": 1, "B": ["x"]}
    assert job.skip_if == "false" and job.max_concurrency == 1 and job.timezone == "Europe/Berlin"
    assert {code: target.name for code, target in a.on_exit_code.items()} == {
        "2": "b",
        "3": "COMPLETED",
        "4": "ERR_NO",
        "SKIPPED": "b",
    }
    assert a.script == ("one\ntwo\n",) and a.checkout.depth == 0 and a.allow_failure == (1, 2)
    assert a.artifacts.paths == ("dist/",) and a.artifacts.expires_after == 90 and a.cache[0].key == "k-main"
    assert a.except_ == "false" and b.dependencies == ("a",) and b.always_run


@pytest.mark.parametrize("text", ["commit: {}", "commit:", "{commit: {}}"])
def test_a_trigger_may_be_empty(text):
    nested = text if text.startswith("{") else f"\n  {text}"
    assert good(f"{SHORT}triggers: {nested}\n").triggers.commit is not None


def test_anchors_and_merge_keys():
    job = good("""
job_type: ci
tasks:
  - &base
    task_type: a
    script: &lines [x, y]
  - <<: *base
    task_type: b
    script: [*lines, z]
""")
    assert job.tasks[1].script == ("x", "y", "z")


def test_where_a_field_is_text_the_source_text_is_taken():
    """T16: 3.10 stays 3.10, on stays on."""
    job = good(
        "job_type: 3.10\nscript: 1\nenvironment: {A: 3.10, B: on, C: 0777, D: ~, E: true}\nvariables: {F: 3.10}\n"
    )
    assert job.job_type == "3.10"
    assert job.tasks[0].environment == {"A": "3.10", "B": "on", "C": "0777", "D": "", "E": "true"}
    assert job.tasks[0].variables == {"F": "3.10"}


def test_several_documents_each_with_its_own_problems():
    found = load("# head\n---\njob_type: a\nscript: x\n---\njob_type: b\nskript: x\n...\n---\n# nothing\n", path="f")
    assert [(each.index, each.job_type, len(each.problems)) for each in found] == [(0, "a", 0), (1, "b", 1)]
    assert {problem.line for problem in found[1].problems} == {7}
    assert found[0].digest != found[1].digest


@pytest.mark.parametrize("text", ["", "# only\n", "---\n---\n", "\n \n"])
def test_a_file_without_a_job(text):
    assert "no job" in bad(text)[0].message
