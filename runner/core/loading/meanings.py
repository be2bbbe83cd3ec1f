"""What every key of the definition language means, in words: docs/language.md's tables and the JSON Schema are made
from it.

A row is `name | what it takes | what it means | an example as JSON`, the last one where there is one; an indented line
goes on with the row above. Words in backticks and links are Markdown, for the page; `plain` takes them out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from formicary.runner.core.loading import meanings_of_containers

_LINK: Final = re.compile(r"\[([^]]*)\]\([^)]*\)")


@dataclass(frozen=True)
class Meaning:
    """Of one key. `example` is None where there is none."""

    takes: str
    means: str
    example: Any = None


def plain(text: str) -> str:
    """Without Markdown, and as a sentence."""
    said = _LINK.sub(r"\1", text).replace("`", "")
    return said[:1].upper() + said[1:]


def _rows(text: str) -> Iterator[tuple[str, Meaning]]:
    for row in re.sub(r"\n[ ]+", " ", text).strip().split("\n"):
        name, takes, means, *example = (part.strip() for part in row.split(" | "))
        yield name, Meaning(takes, means, json.loads(example[0]) if example else None)


_JOB: Final = """
job_type | text, at most 100 characters | the job's name, unique in its repository | "ci"
description | text | shown on the job's page | "Tests of the library"
include | list of paths | [fragments](#fragments) of the same commit, whose keys are defaults under the job's own
    | ["fragments/python.yml"]
triggers | a mapping, or a list of mappings of one key | what starts it, see [Triggers](#triggers)
    | {"push": {"branches": ["main"]}}
cron_trigger | a schedule | 5 fields; 6 = with the year; 7 = seconds first, year last; or `@daily` and its like
    | "0 3 * * *"
timezone | a name such as `Europe/Berlin` | whose clock the schedule follows | "Europe/Berlin"
cron_missed | `latest`, `all`, `none` | what to do about runs that were missed while nothing ran | "none"
params | name → [parameter](#parameters) | inputs of a run that a person or program asks for
    | {"Version": {"default": "1.0"}}
required_params | list of names | a request without them is refused, naming all that are missing | ["Version"]
public_plugin | `true` or `false` | other organizations may fork it too, see [Plugins](#plugins) | true
sem_version | a version | what this text of the job is released as; `1.0-dev` and `1.0-rc1` may still change | "1.2"
job_variables | a mapping, or a list of `{name, value}` | values for templates and for the environment
    | {"Image": "app:1.0"}
skip_if | text | if it contains `true` once it is rendered, the request ends SKIPPED, which is a success
    | "{{ GitBranch == 'gh-pages' }}"
max_concurrency | a number, at least 1 | how many runs of this job at the same time | 1
concurrency | [a group](#one-at-a-time), or its name | one running job of the group
    | {"group": "{{ GitBranch }}", "cancel_in_progress": true}
resources | [a shared resource](#shared-resources) | what the whole job holds while it runs
    | {"resource_type": "board", "value": 1}
priority | a number | among waiting requests the higher one goes first | 10
timeout | duration | for the whole job | "2h"
hard_reset_after_retries | a number | from this retry of the job on all tasks run again; 0 = never | 2
pause_time | duration | how long `PAUSE_JOB` pauses the job | "5m"
retry | a number | how often the job is tried again; tasks that completed are kept | 2
delay_between_retries | duration | how long to wait before that | "30s"
retry_backoff_policy | [growing delays](#retries) | takes the place of `delay_between_retries`
    | {"min": "2s", "max": "1m"}
template | `native` or `go` | the [dialect](#the-go-dialect); without it what the repository's setting or `--dialect`
    says, else `native`. It is read before anything else, so it stands on a line that begins with `template:` | "go"
url | text | accepted, and not shown anywhere yet | "https://example.org"
platform | `linux`, `linux/amd64`, … | only an ant of this platform runs it | "linux"
webhook | [a webhook](#webhooks) | where the event is sent at every change of state
    | {"url": "https://deploys.example/events"}
notify | channel → [recipients](#notifications) | who is told how a run ended
    | {"email": {"recipients": ["team@example.org"], "when": "onChange"}}
status | [a mapping](#the-status-of-a-commit) | how the job shows on its commit | {"context": "ci/test"}
retention | [a mapping](#retention) | how long its runs are kept | {"completed": "24h", "failed": "720h"}
tasks | list of tasks | see below; left out in a job of one task | [{"task_type": "test", "script": ["make test"]}]
"""
_TASK: Final = """
task_type | text, at most 100 characters | the task's name, unique in the job | "test"
description | text | shown on the pages | "Runs the unit tests"
method | `SHELL` and [others](#methods) | how it is run; with a `container` that has an image: by the container engine
    of the ant | "SHELL"
script | list of commands | run in one shell, so `cd` and `export` carry over; the first that fails ends it
    | ["make", "make test"]
before_script | list of commands | runs in the same shell before `script` | ["python3 -m venv .venv"]
after_script | list of commands | runs in a shell of its own after a script that began, whatever happened, at most
    5 minutes; its failure is a warning | ["rm -rf scratch"]
shell | list | the shell and its first arguments, such as `[bash, -o, pipefail]` | ["bash", "-o", "pipefail"]
working_dir | path | below the workspace; all relative paths start there | "server"
needs | list of tasks | starts after these | ["build"]
dependencies | list of tasks | starts after these, with their artifacts in place | ["build"]
matrix | [name → list of values](#matrix) | one run for each combination of the values | {"python": ["3.11", "3.12"]}
when | [`{branch, event, path}`](#when) | else the task is SKIPPED, which counts as completed | {"branch": "main"}
approval_policy | a mapping | who may approve a task of the method MANUAL, and until when | {"min_approvals": 2}
fork_job_type | text | which job a task of the method FORK_JOB forks | "encode"
fork_job_version | a version, or `^1.2` | which [version](#plugins) of it; none named: the newest release | "^1.2"
url | `http://…` or `https://…` | what an [HTTP task](#http) calls | "https://service.example/api/builds"
headers | name → text | headers that are sent | {"Authorization": "Bearer {{ ApiToken }}"}
query | name → text | added to the URL, encoded | {"commit": "{{ GitCommitID }}"}
body | text, or a mapping | what is sent: text as it is, a mapping as JSON or as a form | {"state": "deployed"}
await_forked_tasks | list of tasks | for whose forked jobs a task of the method AWAIT_FORKED_JOB waits | ["encode"]
sub_workflow | a mapping | what goes into the forked job, and what comes back | {"wait_for_completion": true}
fan_out | [a mapping](#fan-out) | one run, or one forked job, an item of a list
    | {"source": ["eu", "us"], "item_var": "Region"}
on_completed | a task, or a [word](#what-runs-next) | where to go when it completes | "publish"
on_failed | a task, or a word | where to go when it fails | "roll-back"
on_exit_code | code → task or word | where to go with this exit code; `SKIPPED` counts as one | {"3": "COMPLETED"}
except | text | if it contains `true` once it is rendered, the task is SKIPPED, which counts as completed
    | "{{ GitBranch != 'main' }}"
allow_failure | `true`, or a list of exit codes | its failure does not fail the job | [1, 2]
always_run | `true` or `false` | runs at the end, after failure, timeout and cancel too | true
allow_start_if_completed | `true` or `false` | runs again when the job is retried, though it completed | true
timeout | duration | for each attempt | "10m"
retry | a number | how often it is tried again | 2
delay_between_retries | duration | how long to wait before that | "30s"
retry_backoff_policy | [growing delays](#retries) | takes the place of `delay_between_retries`
    | {"min": "2s", "max": "1m"}
environment | name → text | environment variables; the only way to set `PATH` and its like | {"LANG": "C.UTF-8"}
variables | a mapping, or a list of `{name, value}` | as `job_variables`, for this task | {"Target": "release"}
checkout | `false`, or `{depth, ref}` | whether the commit is put into the workspace; it is by default | {"depth": 0}
artifacts | [artifacts](#artifacts) | which files to keep | {"paths": ["dist/*"]}
report_stdout | `true` or `false` | messages that the job has completed show what this task wrote | true
artifact_ids | list of numbers | artifacts of other runs that are put in place first, by their ids | ["{{ Build }}"]
reports | [reports](#reports) | which files tell of tests and of lines that ran
    | {"junit": ["reports/*.xml"], "coverage": ["coverage.xml"]}
cache | one [cache](#caches) or a list | which files to bring along from run to run
    | {"key": "npm", "key_paths": ["package-lock.json"], "paths": [".npm"]}
resources | [a shared resource](#shared-resources) | what it holds while it runs | {"resource_type": "board"}
tags | list | only an ant that has all of them runs it | ["gpu"]
secrets | list of names | which [secrets](#secrets) it may see; else those that its text names | ["DeployKey"]
webhook | [a webhook](#webhooks) | where the event is sent at every change of the task's state
    | {"url": "https://deploys.example/events"}
notify | channel → [recipients](#notifications) | who is told how the task ended
    | {"slack": {"recipients": ["#builds"], "when": "onFailure"}}
"""
_BACKOFF: Final = """
min | duration | before the first retry | "2s"
factor | a number, at least 1 | each further delay is so many times the one before | 3
max | duration | but no longer than this | "1m"
jitter | 0 to 1 | up to this share more, so that not all come back at once | 0.2
"""
_TRIGGERS: Final = """
commit | a filter, or `{}` | a branch or tag has moved | {}
push | a filter, or `{}` | the same; if both are given, `commit` counts | {"branches": ["main", "release/*"]}
pull_request | [a filter of its own](#pull-requests), or `{}` | something happened to a pull request on a forge
    | {"branches": ["main"]}
schedule | a schedule | another way to write `cron_trigger`; write one of the two | "0 3 * * *"
completed | list of jobs | one of these has [ended successfully](#one-job-after-another) | ["build"]
webhook | [a mapping of its own](#webhooks), or a list of them | somebody has called an address of this job
    | {"name": "deploy", "auth": "hmac_sha256", "secret_config": "DeployKey"}
"""
_REF_FILTER: Final = """
branches | globs | only these branches | ["main", "release/*"]
tags | globs | only these tags; with `branches` alone, tags do not count | ["v*"]
paths | globs | only if a changed file is among these | ["src/**"]
paths_ignore | globs | not if all changed files are among these | ["docs/**"]
every_commit | `true` or `false` | one run for each commit; else only the newest one of several | true
"""
_PULL_REQUEST_FILTER: Final = """
branches | globs | only pull requests into these branches | ["main"]
types | list | only these: `opened`, `synchronize` (a new commit), `reopened`, `closed`, `labeled`, `unlabeled`,
    `ready_for_review`, `edited` | ["opened", "synchronize"]
paths | globs | only if a changed file is among these | ["src/**"]
paths_ignore | globs | not if all changed files are among these | ["docs/**"]
"""
_WEBHOOK: Final = """
name | letters, digits, `.`, `_`, `-` | the last part of the address | "deploy"
auth | `hmac_sha256`, `token` | how the caller proves that he knows the secret | "hmac_sha256"
secret_config | the name of a secret | which secret; without it every call is refused | "DeployKey"
header | the name of a header | where signature or token stand; by itself `X-Hub-Signature-256`, or `Authorization`
    behind `Bearer` | "X-Signature"
params | name → template | parameters of the request | {"Version": "{{ body.version }}"}
filter | a template | only calls for which this is `true` | "{{ body.env == 'prod' }}"
dedup_key | a template | calls for which this is the same make one request | "{{ body.id }}"
rate_limit | a mapping | how often it may be called | {"max": 10, "window": "1m"}
"""
_RATE_LIMIT: Final = """
max | a number, at least 1 | so many calls | 10
window | duration, from `1s` to `24h` | in so long a time | "1m"
"""
_CONCURRENCY: Final = """
group | text, at most 255 characters | the group's name, rendered when the request comes | "{{ GitBranch }}"
cancel_in_progress | `true` or `false` | a new request cancels what is older in the group | true
"""
_RESOURCES: Final = """
resource_type | text | the type that it was registered with | "board"
platform | text | only one of this platform | "linux"
tags | list | only one that has all of these | ["fast"]
value | a number, at least 1 | how many units | 2
extract_config | a mapping | which of its properties become variables | {"properties": ["host"]}
"""
_EXTRACT: Final = """
properties | list | these; none named: all | ["host"]
context_prefix | text | the variables are called `<prefix>_<property>`; without it, as the property | "Board"
"""
_WHEN: Final = """
branch | globs | only on these branches | ["main"]
event | globs | only for these events, such as `push` and `schedule` | ["push"]
path | globs | only if a changed file is among these | ["src/**"]
"""
_APPROVAL: Final = """
min_approvals | a number, at least 1 | how many people have to approve | 2
require_unanimous | `true` or `false` | one who rejects is enough | true
allowed_users | list | who may approve | ["ann"]
allowed_roles | list | whose role lets them approve | ["admin"]
timeout | duration | how long it waits for an answer | "4h"
timeout_action | `AUTO_APPROVE`, `AUTO_REJECT`, `ESCALATE` | what happens then | "AUTO_REJECT"
sla_deadline | duration | by when there should be an answer | "1h"
escalation_recipients | list | who is told when it takes too long | ["ops@example.org"]
escalation_message | text | what they are told | "The release waits"
"""
_SUB_WORKFLOW: Final = """
input_params | a mapping, or a list of `{name, value}` | the forked job's parameters, and no others
    | {"Version": "{{ Version }}"}
output_variables | a mapping, or a list of names | which outputs of the forked job become this task's
    | {"Digest": "ImageDigest"}
wait_for_completion | `true` or `false` | whether the task ends when the forked job has ended | true
"""
_FAN_OUT: Final = """
source | a list, or the name of one | one run, or one forked job, for each item | ["eu", "us"]
item_var | text | the parameter that holds the item | "Region"
max_parallel | a number | how many of them at a time; 0 is all | 2
fail_fast | `true` or `false` | the first that fails ends the others | true
fork_job_type | text | which job is forked; without it the task itself runs once an item | "deploy-region"
fork_job_version | a version, or `^1.2` | which version of it | "1.0"
"""
_PARAM: Final = r"""
description | text | for people | "without the v"
default | any value | what it is if nobody says | "beta"
enum | list of texts | what it may be | ["beta", "stable"]
pattern | regular expression | what it must match, as a whole | "\\d+\\.\\d+"
secret | `true` or `false` | masked wherever it shows up, and not kept after the run | true
"""
_ARTIFACTS: Final = """
paths | paths or globs | what to keep: one artifact a path; a folder or several files become a tar | ["dist/*"]
exclude | globs | but not these | ["dist/*.tmp"]
when | `always`, `onSuccess`, `onFailure` | after which outcome | "always"
expires_after | duration | it is deleted after so long, if its run is kept longer | "168h"
"""
_REPORTS: Final = """
junit | paths or globs | JUnit XML, as nearly every test tool writes it | ["reports/*.xml"]
coverage | paths or globs | Cobertura XML or LCOV; what is in a file says which | ["coverage.xml", "lcov.info"]
"""
_CACHE: Final = """
paths | paths or globs | what to bring along | [".npm"]
key | text | under which name | "npm"
key_paths | globs | the contents of these files are part of the key | ["package-lock.json"]
fallback_keys | list of texts | else the newest cache whose key begins with one of these | ["npm"]
policy | `pull-push`, `pull`, `push` | bring it, keep it, or both | "pull"
expires_after | duration | an older one is not brought | "168h"
"""
_CHECKOUT: Final = """
depth | a number | how many commits of history; 0 is all of them | 0
ref | text | a branch, a tag or a full commit id of this repository, put there in place of the commit under test
    | "main"
"""
_HOOK: Final = """
url | `http://…` or `https://…` | where the event is sent, as JSON, by POST | "https://deploys.example/events"
headers | name → text | sent with it; not those of the connection, such as `Host` and `Content-Length`
    | {"Authorization": "Bearer {{ DeployHookToken }}"}
query | name → text | added to the URL, encoded | {"commit": "{{ GitCommitID }}"}
"""
_CHANNEL: Final = """
recipients | list | addresses for `email`; `"#channel"`, `"@user"` or `slack://…` for `slack`; `scheme://…` for `urls`
    | ["team@example.org"]
when | `always`, `onSuccess`, `onFailure`, `onChange`, `never` | after which outcome; `onChange` is the first failure
    after a success and the first success after a failure | "onChange"
"""
_STATUS: Final = """
context | text, at most 255 characters | its name on the commit; `formicary/` and the job's name if nothing is said
    | "ci/test"
per_task | `true` or `false` | one status for each task too | true
enabled | `true` or `false` | whether there is one at all | false
"""
_RETENTION: Final = """
completed | duration | how long runs are kept that completed or were skipped; else as long as the server's setting says
    | "24h"
failed | duration | the same for runs that failed | "720h"
cancelled | duration | the same for runs that were cancelled | "24h"
"""

#: By the names of the tables on the page.
MEANINGS: Final[Mapping[str, Mapping[str, Meaning]]] = {
    name: dict(_rows(text))
    for name, text in {
        "JOB": _JOB,
        "TASK": f"{_TASK.strip()}\n{meanings_of_containers.TASK.strip()}",
        "BACKOFF": _BACKOFF,
        "TRIGGERS": _TRIGGERS,
        "REF_FILTER": _REF_FILTER,
        "PULL_REQUEST_FILTER": _PULL_REQUEST_FILTER,
        "WEBHOOK": _WEBHOOK,
        "RATE_LIMIT": _RATE_LIMIT,
        "CONCURRENCY": _CONCURRENCY,
        "RESOURCES": _RESOURCES,
        "EXTRACT": _EXTRACT,
        "WHEN": _WHEN,
        "APPROVAL": _APPROVAL,
        "SUB_WORKFLOW": _SUB_WORKFLOW,
        "FAN_OUT": _FAN_OUT,
        "PARAM": _PARAM,
        "ARTIFACTS": _ARTIFACTS,
        "REPORTS": _REPORTS,
        "CACHE": _CACHE,
        "CHECKOUT": _CHECKOUT,
        "HOOK": _HOOK,
        "CHANNEL": _CHANNEL,
        "STATUS": _STATUS,
        "RETENTION": _RETENTION,
        **meanings_of_containers.TEXTS,
    }.items()
}
