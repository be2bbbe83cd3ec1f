"""Which names a template and a task's process see, whose value wins, and what is kept from the process. Pure.

Secrets are never values here: a secret is a token that stays in whatever is rendered, stored and shown, and that the
ant alone replaces (`fill`). A value that happens to hold a token's first character is written so that `fill` gives it
back as it was and nobody can ask for a secret by writing its token into a commit message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from formicary.runner.core.definition import HTTP_METHODS, JobDefinition, TaskDefinition, Value
from formicary.runner.core.language.functions import text_of
from formicary.runner.core.language.limits import SECRET_CLOSE, SECRET_OPEN
from formicary.runner.core.shape import Shape

SECRET_TOKEN: Final = re.compile(f"{SECRET_OPEN}([^{SECRET_OPEN}{SECRET_CLOSE}]*){SECRET_CLOSE}")
MAX_VARIABLE: Final = 100 * 1024
"""Bytes of a value; a longer one goes to a file. A process takes 128 KiB a variable on Linux."""
MAX_ENVIRONMENT: Final = 1024 * 1024
"""Bytes of all values; beyond that the longest ones go to files too."""
ALWAYS_FILES: Final = frozenset({"GitChangedFiles"})

#: What outsiders can write, wherever it comes from.
OUTSIDERS_WRITE: Final = frozenset(
    [
        "GitBranch",
        "GitTag",
        "GitCommitMessage",
        "GitCommitAuthor",
        "GitCommitAuthorEmail",
        "GitBaseBranch",
        "GitPullRequestTitle",
        "GitChangedFiles",
        "CI_COMMIT_BRANCH",
        "CI_COMMIT_TAG",
    ]
)
_MENTIONED: Final = re.compile(r"\$\{?[#!]?([A-Za-z_][A-Za-z0-9_]*)")
_SCRIPTS: Final = ("before_script", "script", "after_script")
_NOT_ITS_OWN: Final = frozenset({"webhook", "notify", "secrets"})
"""Fields of a task that the queen reads; the ant needs none of their secrets."""
_SHELL_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_FORBIDDEN: Final = re.compile(
    r"(?:PATH|HOME|LD_.*|BASH_ENV|ENV|IFS|PYTHON.*|NODE_OPTIONS|GIT_.*|DOCKER_.*)\Z", re.DOTALL
)
_NO_PROCESS_TAKES: Final = re.compile("[\0\ud800-\udfff]")

# Whose value wins: the higher. What a rendering of the text makes itself may replace what stands below it.
TASK_RESULTS, JOB_VARIABLE, PARAM, TASK_VARIABLE, OUTPUT, MATRIX, FIXED = range(7)


@dataclass(frozen=True)
class Names:
    """What templates see. `ranks` says whose value each one is; a name without a rank counts as a parameter."""

    values: Mapping[str, Value]
    tainted: frozenset[str] = frozenset()
    secrets: Mapping[str, str] = field(default_factory=dict)
    ranks: Mapping[str, int] = field(default_factory=dict)
    configs: frozenset[str] = frozenset()
    """Those of `secrets` that are secret configs: a task sees only those that are its own (`secrets_of`)."""

    withheld: bool = False
    """Whether this run sees no secret config at all. Templates still have their tokens: the queen may send them."""
    seed: int = 0
    """Where the go dialect's `Random` begins."""

    @property
    def open_secrets(self) -> frozenset[str]:
        """The secrets that a task of this run may see if it names them."""
        return frozenset(self.secrets) - (self.configs if self.withheld else frozenset())

    def rank(self, name: str) -> int:
        """-1 if the name is not there."""
        return self.ranks.get(name, PARAM) if name in self.values else -1

    def under(self, values: Mapping[str, Value], tainted: frozenset[str], rank: int) -> Names:
        """With these values too, but for names that somebody of a higher rank holds."""
        taken = [name for name in values if self.rank(name) <= rank]
        if not taken:
            return self
        return Names(
            {**self.values, **{name: values[name] for name in taken}},
            self.tainted.difference(taken) | tainted.intersection(taken) | OUTSIDERS_WRITE.intersection(taken),
            self.secrets,
            {**self.ranks, **dict.fromkeys(taken, rank)},
            self.configs,
            self.withheld,
            self.seed,
        )


@dataclass(frozen=True)
class Environment:
    """What a task's process gets. For each of `files` the ant writes a file, and the variable holds its path."""

    variables: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def secret_token(name: str) -> str:
    return f"{SECRET_OPEN}{name}{SECRET_CLOSE}"


def fill(text: str, secrets: Mapping[str, str]) -> str:
    """The text with its secrets, for the ant's eyes only. A secret that is not there becomes empty."""
    if SECRET_OPEN not in text:
        return text
    return SECRET_TOKEN.sub(lambda found: secrets.get(found[1], "") if found[1] else SECRET_OPEN, text)


def secrets_in(*values: Any) -> frozenset[str]:
    """Names of the secrets whose tokens stand anywhere in these texts, lists, mappings or shapes."""
    return frozenset(name for value in values for name in _tokens(value))


def _tokens(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if SECRET_OPEN in value:
            yield from filter(None, SECRET_TOKEN.findall(value))
        return
    inner: Iterable[Any] = ()
    if isinstance(value, Mapping):
        inner = (*value, *value.values())
    elif isinstance(value, (list, tuple)):
        inner = value
    elif isinstance(value, Shape):
        inner = (field for _, field in value)
    for each in inner:
        yield from _tokens(each)


def secrets_of(task: TaskDefinition, names: Names | None = None) -> frozenset[str]:
    """Which secrets a rendered task may see: those of its `secrets`, else those that its text names.

    Named is what a template puts in and, if `names` are given, what its scripts read as `$Name`; with `names` only
    secrets that this run may see are told. What `webhook` and `notify` hold is not the task's: see `secrets_in`.
    """
    found = frozenset(task.secrets) if task.secrets is not None else secrets_named(task)
    if names is None:
        return found
    if task.secrets is None:
        found |= secrets_in(*_mentioned(task, names))
    return found & names.open_secrets


def secrets_named(task: TaskDefinition) -> frozenset[str]:
    """The secrets whose tokens stand in a rendered task, whatever its `secrets` say."""
    return secrets_in(*(value for name, value in task if name not in _NOT_ITS_OWN))


def _mentioned(task: TaskDefinition, names: Names) -> Iterator[Value]:
    """Values of the names that its scripts read as variables."""
    text = "\n".join(item for name in _SCRIPTS for item in getattr(task, name))
    values = _with_own(names, task).values
    for name in set(_MENTIONED.findall(text)):
        yield values.get(name)


def _with_own(names: Names, task: TaskDefinition) -> Names:
    """The attempt has rendered its variables anew; `names` may still hold those of the plan."""
    return names.under(task.variables, frozenset(task.tainted_variables), TASK_VARIABLE) if task.variables else names


def guarded(value: Value) -> Value:
    """The value with its own token characters written so that `fill` gives them back."""
    if isinstance(value, str):
        return value.replace(SECRET_OPEN, secret_token("")) if SECRET_OPEN in value else value
    if isinstance(value, list):
        return [guarded(item) for item in value]
    if isinstance(value, dict):
        return {str(guarded(key)): guarded(item) for key, item in value.items()}
    return value


def names_for(
    job: JobDefinition | None,
    *,
    built_in: Mapping[str, Value],
    params: Mapping[str, Value],
    tainted_params: frozenset[str] = frozenset(),
    secrets: Mapping[str, str] | None = None,
    configs: Mapping[str, str] | None = None,
    secret_params: frozenset[str] = frozenset(),
    withheld: bool = False,
    outputs: Mapping[str, Mapping[str, Value]] | None = None,
    outputs_tainted: bool = False,
    task: TaskDefinition | None = None,
    matrix: Mapping[str, Value] | None = None,
    tainted_matrix: tuple[str, ...] = (),
    by_combination: Mapping[str, Mapping[str, Mapping[str, Value]]] | None = None,
) -> Names:
    """All names, the later ones winning: job_variables, params, variables of the task, outputs of finished tasks, those
    of the combination of a matrix.

    Built-ins and secrets are shadowed by nothing. `secret_params` are those of `params` whose value is a secret;
    `secrets` come from elsewhere; so do `configs`, the secret configs, of which a task sees only its own, and which a
    secret parameter of the same name replaces; with `withheld` (an untrusted run) it sees none. `job` is the planned
    definition, or None before there is one; `outputs` are in the order in which their tasks ended, and each is there as
    `name` and as `task.name`; `by_combination` those of a matrix task, as `task["python=3.12"].name`.
    """
    mine = {name: text_of(params[name]) for name in secret_params if name in params} | dict(secrets or {})
    shared = {name: text for name, text in (configs or {}).items() if name not in mine and name not in built_in}
    hidden = mine | shared
    results = outputs or {}
    layers = _Layers(tainted_params)
    answered = _answered(job, results)
    outputs_tainted = outputs_tainted or bool(answered)  # scripts may have handed on what a server said
    layers.add(_task_results(results, by_combination or {}), TASK_RESULTS, outputs_tainted)
    for found in answered.values():
        layers.add(found, JOB_VARIABLE, True)
    if job is not None:
        layers.add(job.job_variables, JOB_VARIABLE, tainted=frozenset(job.tainted_variables), made=True)
        layers.add(_defaults(job), PARAM)
    layers.add(params, PARAM, tainted=tainted_params)
    if task is not None:
        layers.add(task.variables, TASK_VARIABLE, tainted=frozenset(task.tainted_variables), made=True)
    for name, found in results.items():
        if name not in answered:
            layers.add(found, OUTPUT, outputs_tainted)
    layers.add(matrix or {}, MATRIX, tainted=frozenset(tainted_matrix), made=True)
    layers.add(built_in, FIXED)
    tokens = {name: secret_token(name) if value else "" for name, value in hidden.items()}
    layers.add(tokens, FIXED, tainted=tainted_params & secret_params, made=True)
    return Names(layers.values, frozenset(layers.tainted), hidden, layers.ranks, frozenset(shared), withheld)


class _Layers:
    def __init__(self, suspects: frozenset[str]) -> None:
        self.suspects = suspects
        self.values: dict[str, Value] = {}
        self.ranks: dict[str, int] = {}
        self.tainted: set[str] = set()

    def add(
        self,
        values: Mapping[str, Value],
        rank: int,
        all_tainted: bool = False,
        *,
        tainted: frozenset[str] = frozenset(),
        made: bool = False,
    ) -> None:
        """One layer over those before. `made` values went through a rendering, so they are guarded already."""
        names = values.keys()
        self.values |= values if made else {name: guarded(value) for name, value in values.items()}
        self.ranks |= dict.fromkeys(names, rank)
        if all_tainted:
            self.tainted |= names
            return
        self.tainted -= names
        self.tainted |= names & OUTSIDERS_WRITE | names & tainted
        if rank == JOB_VARIABLE:
            self.tainted |= names & self.suspects


def _task_results(
    results: Mapping[str, Mapping[str, Value]], by_combination: Mapping[str, Mapping[str, Mapping[str, Value]]]
) -> dict[str, Value]:
    found: dict[str, Value] = {task_type: dict(outputs) for task_type, outputs in results.items()}
    for task_type, combinations in by_combination.items():
        of_each = {label: dict(outputs) for label, outputs in combinations.items()}
        found[task_type] = {**results.get(task_type, {}), **of_each}
    return found


def _answered(job: JobDefinition | None, results: Mapping[str, Mapping[str, Value]]) -> dict[str, Mapping[str, Value]]:
    """The outputs that a server chose: tainted, and they replace no other name."""
    tasks = job.tasks if job is not None and results else ()
    return {task.task_type: results[task.task_type] for task in tasks if _calls(task) and task.task_type in results}


def _calls(task: TaskDefinition) -> bool:
    return task.method in HTTP_METHODS


def _defaults(job: JobDefinition) -> dict[str, Value]:
    return {name: param.default for name, param in job.params.items() if param.default is not None}


def environment(names: Names, task: TaskDefinition) -> Environment:
    """What the task's process gets of these names, and over them what its `environment` says."""
    notes: list[str] = []
    found: dict[str, str] = {}
    names = _with_own(names, task)
    unseen = names.configs - secrets_of(task, names) if names.configs else frozenset()
    for name, value in names.values.items():
        if names.ranks.get(name) == TASK_RESULTS or name in unseen:
            continue
        if unseen and (held := unseen & secrets_in(value)):
            notes.append(_not_its_secret(name, min(held)))
            continue
        if why := _kept_out(name):
            notes.append(f"`{_shown(name)}` is not in the environment: {why}.")
        else:
            found[name] = _as_variable(name, value)
    for name, text in task.environment.items():
        if _SHELL_NAME.match(name):
            found[name] = text
        else:
            notes.append(f"`{_shown(name)}` is not in the environment: no shell can hold this name.")
    return _split(found, notes)


def _not_its_secret(name: str, secret: str) -> str:
    why = f"it holds the secret `{_shown(secret)}`, which this task does not name"
    return f"`{_shown(name)}` is not in the environment: {why}; list it under `secrets`."


def _as_variable(name: str, value: Value) -> str:
    if name in ALWAYS_FILES and isinstance(value, list):
        return "".join(f"{text_of(item)}\n" for item in value)
    return text_of(value)


@lru_cache(maxsize=4096)
def _kept_out(name: str) -> str:
    if not _SHELL_NAME.match(name):
        return "no shell can hold this name"
    if _FORBIDDEN.match(name):
        return "only `environment` in the definition may set it"
    return ""


def _shown(name: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in name[:60])


def _split(found: dict[str, str], notes: list[str]) -> Environment:
    files = dict(_to_files(found, notes))
    return Environment({name: text for name, text in found.items() if name not in files}, files, tuple(notes))


def _to_files(found: Mapping[str, str], notes: list[str]) -> Iterator[tuple[str, str]]:
    together = "".join(found.values())
    if len(together) * 4 < MAX_VARIABLE and not _NO_PROCESS_TAKES.search(together):  # mostly
        yield from ((name, found[name]) for name in ALWAYS_FILES if name in found)
        return
    sizes = {name: len(text) if text.isascii() else len(text.encode(errors="replace")) for name, text in found.items()}
    total = 0
    for name, text in sorted(found.items(), key=lambda pair: sizes[pair[0]]):
        total += sizes[name]
        why = ""
        if _NO_PROCESS_TAKES.search(text):
            why = "it holds characters that no variable can hold"
        elif sizes[name] > MAX_VARIABLE:
            why = "it is longer than 100 KiB"
        elif total > MAX_ENVIRONMENT:
            why = "all variables together are longer than 1 MiB"
        if why or name in ALWAYS_FILES:
            total -= sizes[name]
            yield name, text
        if why:
            notes.append(f"`{name}` is the path of a file with its value, because {why}.")
