"""`--dialect go`: definitions of the Go original are checked and run as they are."""

import subprocess

from servers import FORMICARY, environment

OLD = """job_type: old
job_variables: {Count: 2}
dynamic_template_tasks: true
tasks:
{{- range $i := Iterate .Count }}
- task_type: step-{{$i}}
  before_script:
    - env NEW=xyz
    - cd /
  script:
    - {{if eq $i 0}}echo $NEW-{{$i}} > out.txt{{else}}cat out.txt{{end}}
  {{if eq $i 0}}
  artifacts: {paths: [out.txt]}
  on_completed: step-{{Add $i 1}}
  {{else}}
  dependencies: [step-0]
  {{end}}
{{- end }}
"""


def call(repo, tmp_path, *words):
    settings = environment(FORMICARY_DATA=f"{tmp_path}/data")
    return subprocess.run([*FORMICARY, *words], cwd=repo.path, env=settings, capture_output=True, text=True, timeout=60)


def test_validate_takes_it_and_says_what_the_original_would_not_know(repo, tmp_path):
    repo.commit({".formicary/old.yml": OLD})
    refused = call(repo, tmp_path, "validate")
    assert refused.returncode == 1 and "write `template: go` on the job" in refused.stdout
    assert refused.stdout.rstrip().endswith("1 job: 1 error")
    said = call(repo, tmp_path, "validate", "--dialect", "go")
    assert said.returncode == 0 and "warning: `dynamic_template_tasks`" in said.stdout


def test_run_runs_it(repo, tmp_path):
    """Loops make tasks, lines have shells of their own, artifacts come after before_script."""
    repo.commit({".formicary/old.yml": OLD})
    ran = call(repo, tmp_path, "run", "--dialect", "go")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "step-1 | xyz-0" in ran.stdout
