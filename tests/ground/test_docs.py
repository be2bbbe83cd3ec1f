"""The docs name only what there is: commands, options, make targets, links, calls, dependencies, states."""

import importlib.util
import re
import shlex

import click
import pytest

from formicary.cli.main import COMMANDS, cli
from formicary.runner.core import definition as model
from formicary.runner.core.loading import keys
from formicary.webhook.app import all_operations
from formicary.webhook.openapi import plain_path

STATES = {"works", "partly", "not yet"}


def page(root, name):
    return (root / "docs" / name).read_text(encoding="utf-8")


# --- commands


def blocks(text):
    """The lines of fenced blocks for a shell, continued lines joined."""
    for block in re.findall(r"^```(?:sh|console|bash|ini)\n(.*?)^```", text, re.M | re.S):
        yield from block.replace("\\\n", " ").splitlines()


def commands(text):
    """Every `formicary …` of the text: in blocks as written, in the running text as far as it names options."""
    for line in blocks(text):
        for part in re.split(r"&&|\||;", line):
            found = re.search(r"(?:^|[\s/(])formicary (?!-m)(.+)", part)
            if found:
                yield found[1].split(" #")[0].strip()
    for code in re.findall(r"`formicary ([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)):
        yield code.strip()


def complaint(said):
    """What is wrong with a command line; empty if the program would take it."""
    words = shlex.split(said)
    command, context, path = cli, click.Context(cli), []
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        if found is None:
            return f"there is no command {' '.join([*path, words[0]])}"
        path.append(words.pop(0))
        command, context = found, click.Context(found, parent=context)
    options = {name: one for one in command.params for name in (*one.opts, *one.secondary_opts) if name[:1] == "-"}
    for word in words:
        name = word.partition("=")[0]
        if re.fullmatch(r"--?[a-z][a-z-]*", name) and name not in {*options, "--help", "-h"}:
            return f"{' '.join(path)} has no option {name}"
    return ""


def test_the_docs_name_only_commands_and_options_that_exist(docs, root):
    """Each command line of the docs is one that the program knows."""
    said = [(path, line) for path, text in docs.items() for line in commands(text)]
    assert len(said) > 25
    wrong = [f"{path.relative_to(root)}: formicary {line}: {complaint(line)}" for path, line in said if complaint(line)]
    assert wrong == []


@pytest.mark.parametrize(
    "said, why", [("srve", "no command"), ("logs 1 --fllow", "no option"), ("hook instal", "no command")]
)
def test_a_wrong_command_would_be_found(said, why):
    """The check above sees what is not there."""
    assert why in complaint(said)


def test_every_command_is_in_the_docs(docs):
    """Each command of the program is on the page of what works."""
    status = next(text for path, text in docs.items() if path.name == "status.md")
    named = " ".join(re.findall(r"^\| (`formicary[^|]*)\|", status, re.M))
    assert [name for name in COMMANDS if not re.search(rf"\b{name}\b", named)] == []


def test_make_targets_of_the_docs_exist(docs, root):
    """`make …` in the docs is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (root / "Makefile").read_text(encoding="utf-8"), re.M))
    lines = [line for text in docs.values() for line in blocks(text)]
    said = {name for line in lines for name in re.findall(r"^(?:\w+=\S+ )*make ([a-z]+)", line)}
    said |= {name for text in docs.values() for name in re.findall(r"`make ([a-z]+)`", text)}
    assert {"demo", "test", "lint", "bench"} <= said
    assert said - targets == set()


# --- links


def test_relative_links_resolve(docs, root):
    """A link leads to a file that is there, and to a heading that is in it."""
    wrong = []
    for path, text in docs.items():
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            file, _, anchor = target.partition("#")
            there = (path.parent / file).resolve() if file else path
            if not there.exists() or (anchor and anchor not in anchors(there.read_text(encoding="utf-8"))):
                wrong.append(f"{path.relative_to(root)}: {target}")
    assert wrong == []


def anchors(text):
    heads = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


# --- tables


@pytest.mark.parametrize("marker, group", [("runtime", "run"), ("development", "dev")])
def test_every_dependency_has_its_reason(root, project, rows, names, marker, group):
    """docs/dependencies.md has exactly the packages of pyproject.toml, one line of reason each."""
    asked = project["project"]["dependencies"] if group == "run" else project["dependency-groups"]["dev"]
    wanted = [re.match(r"[A-Za-z0-9._-]+", one)[0].lower() for one in asked]
    table = rows(page(root, "dependencies.md"), marker)
    assert [names(row[0])[0] for row in table] == wanted
    assert [row for row in table if not 10 <= len(row[1]) <= 100] == []


def test_the_table_of_calls_is_the_door_s(root, rows, names):
    """docs/api.md lists every call, and who may."""
    said = {names(row[0])[0]: row[1:] for row in rows(page(root, "api.md"), "calls")}
    wanted = {}
    for one in all_operations():
        needs = one.role.value if one.role else ("signature" if one.signed else "nothing")
        wanted[f"{one.method} {plain_path(one.path)}"] = [needs, one.summary]
    assert said == wanted


def test_the_diagrams_are_made_from_the_tables(root):
    """Rule 1 of states.py: the docs' diagrams are made from its tables (python docs/diagrams.py)."""
    spec = importlib.util.spec_from_file_location("diagrams", root / "docs" / "diagrams.py")
    diagrams = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(diagrams)
    text = page(root, "architecture.md")
    assert text.count("stateDiagram-v2") == 2
    assert diagrams.with_diagrams(text) == text


def test_the_table_of_rooms_is_the_contract(root, project, rows, names):
    """What a room may import is what import-linter lets it import."""
    layers = [contract["layers"] for contract in project["tool"]["importlinter"]["contracts"] if "layers" in contract]
    rooms, inner = layers[:2]
    text = page(root, "architecture.md")
    for marker, contract, prefix in (("rooms", rooms, "formicary."), ("inner", inner, "formicary.")):
        said = {names(row[0])[0]: set(names(row[2])) for row in rows(text, marker)}
        lines = [[name.strip().removeprefix(prefix) for name in line.split("|")] for line in contract]
        for number, line in enumerate(lines):
            below = {name for other in lines[number + 1 :] for name in other}
            in_words = number in (0, len(lines) - 1)
            for room in line:
                assert said.pop(room) in ((below, set()) if in_words else (below,)), room
        assert said == {}


# --- what works


def states(rows, names, text, marker):
    """Name → what the page says of it."""
    found = {}
    for row in rows(text, marker):
        for name in names(row[0]):
            assert name not in found, f"{name} is there twice"
            found[name] = row[1]
    return found


@pytest.mark.parametrize(
    "marker, there, to_come",
    [
        ("keys: job", {*keys.JOB.keys, *keys.DEFAULTS, "tasks"}, ()),
        ("keys: task", set(keys.TASK.keys), ()),
        ("methods", model.METHODS, model.METHODS_NOT_YET),
        ("triggers", set(keys.TRIGGERS.keys), model.TRIGGERS_NOT_YET),
        ("words", {*model.WORDS, "ERR_…"}, ()),
    ],
)
def test_what_works_is_what_the_loader_takes(root, rows, names, marker, there, to_come):
    """docs/status.md: whatever the loader refuses is `not yet`, whatever it takes is not."""
    said = states(rows, names, page(root, "status.md"), marker)
    assert {name for name, state in said.items() if state == "not yet"} == set(to_come)
    assert {name for name, state in said.items() if state != "not yet"} == set(there)


def test_every_feature_has_a_state(root):
    """A row of docs/status.md says works, partly or not yet; partly says what is missing."""
    lines = [line for line in page(root, "status.md").splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    features = [row for row in table if row[1] != "state" and not set(row[1]) <= {"-"}]
    assert len(features) > 80
    assert [row for row in features if row[1] not in STATES or (row[1] == "partly" and not row[2])] == []
