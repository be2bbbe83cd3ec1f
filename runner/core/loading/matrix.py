"""What `matrix` and `when` of a task say. Combinations are made, excluded and extended as GitHub Actions does it.

Exclude first: what has all the values of an exclusion goes. Then include, one by one: its values are added to every
combination of the lists whose own values it does not contradict (added ones it may); where there is none, it is a
combination of its own, which no later include extends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Sequence as Sequence_
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from math import prod
from typing import Any, Final

from formicary.runner.core.definition import Combination, Matrix, TaskDefinition, Value, WhenFilter
from formicary.runner.core.language.functions import nearest, text_of
from formicary.runner.core.language.limits import MAX_RUNS
from formicary.runner.core.language.nodes import Mapping as MappingNode
from formicary.runner.core.language.nodes import Node, Scalar, Sequence
from formicary.runner.core.loading.reader import Reader, Unread, When
from formicary.runner.core.loading.shapes import fits
from formicary.runner.core.loading.table import Key, Table
from formicary.runner.core.names import SECRET_TOKEN

MAX_COMPARED: Final = 500_000
"""Combinations times includes and excludes."""
_LONGEST: Final = 40
"""Characters of a value that its run's name shows."""
_WORDS: Final = ("include", "exclude", "max_parallel", "fail_fast")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
Values = dict[str, Value]


@dataclass
class _Said:
    """What stands in one `matrix`. `open`: some of it is not known yet."""

    lists: dict[str, list[Value]] = field(default_factory=dict)
    include: list[Values] = field(default_factory=list)
    exclude: list[Values] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    tainted: set[str] = field(default_factory=set)
    open: bool = False


def matrix(reader: Reader, node: Node) -> Matrix | None:
    """None where an attempt is rendered: which combination it is of is settled by then."""
    if reader.when is When.ATTEMPT:
        return None
    said, before = _Said(), len(reader.faults)
    pairs = [*reader.pairs(reader.mapping(node, "matrix"))]
    for name, key, value in pairs:
        reader.attempt(partial(_one, reader, said, name, key, value), None)
    if len(reader.faults) > before:
        raise Unread
    if not said.lists and not said.include and not said.open:
        reader.fail(node, "This matrix has no list", "write one, such as `python: [3.11, 3.12]`, or `include`")
    for name, _, value in pairs:
        if name == "exclude":
            _check_excludes(reader, said, value)
    count = prod(map(len, said.lists.values()))
    if count > MAX_RUNS or count * (len(said.include) + len(said.exclude)) > MAX_COMPARED:
        reader.fail(node, f"This matrix has {count:,} combinations and more", f"use at most {MAX_RUNS:,} in all")
    made = [] if said.open else combined(said.lists, said.include, said.exclude)
    names = tuple(dict.fromkeys((*said.lists, *(name for one in made for name in one))))
    return Matrix(
        combinations=tuple(_labelled(made, names)),
        names=names,
        tainted=tuple(sorted(said.tainted)),
        **said.options,
    )


def _one(reader: Reader, said: _Said, name: str, key: Scalar, value: Node) -> None:
    if name == "max_parallel":
        said.options[name] = fits(1)(reader, value)
    elif name == "fail_fast":
        said.options[name] = reader.boolean(value)
    elif name in ("include", "exclude"):
        reader.tainted = False
        found: list[Values] = getattr(said, name)
        found += [pairs for item in _items(reader, value, said) if (pairs := _values(reader, value, item))]
        if reader.tainted:
            said.tainted |= {each for pairs in found for each in pairs}
    elif not _NAME.fullmatch(name):
        near = nearest(name.replace("-", "_"), _WORDS)
        reader.fail(key, f"`{name[:60]}` cannot be a variable", near or "use letters, digits and `_` only")
    else:
        reader.tainted = False
        said.lists[name] = _list(reader, said, value)
        if reader.tainted:
            said.tainted.add(name)


def _list(reader: Reader, said: _Said, node: Node) -> list[Value]:
    """The values of one variable, each once. One that is made from a list with nothing in it has none."""
    made: dict[str, Value] = {}
    for item in reader.flat(node):
        for value in _items(reader, item, said):
            made.setdefault(_checked(reader, item, value), value)
    if not made and not (isinstance(node, Scalar) and node.token) and not said.open:
        reader.fail(node, "This list of the matrix has no values", "write some, such as `[3.11, 3.12]`")
    return list(made.values())


def _items(reader: Reader, node: Node, said: _Said) -> list[Any]:
    """What stands there as a list; nothing where it is made of something that is not known yet."""
    if reader.lenient and any(scalar.token and reader.unknown(scalar) for scalar in _scalars(node)):
        said.open = True
        return []
    value: Value = reader.single(node, quoted=True) if isinstance(node, Scalar) else None
    if value is None:
        value = reader.value(node)
    if isinstance(value, str) and isinstance(node, Scalar) and node.token:
        value = _from_json(value)
    return value if isinstance(value, list) else [value]


def _from_json(text: str) -> Value:
    """A parameter comes as text from a command line: a list in JSON is that list."""
    if not text.lstrip().startswith("["):
        return text
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return found if isinstance(found, list) else text


def _values(reader: Reader, place: Node, item: Any) -> Values:
    if not isinstance(item, dict):
        reader.fail(place, "Each of these says which variables it is about", "write `- {python: 3.12, os: linux}`")
    for name, value in item.items():
        if not _NAME.fullmatch(name):
            reader.fail(place, f"`{name[:60]}` cannot be a variable", "use letters, digits and `_` only")
        _checked(reader, place, value)
    return item


def _checked(reader: Reader, place: Node, value: Any) -> str:
    """The value's text, by which values are told apart. Raises Unread."""
    if value is None or isinstance(value, (list, dict)):
        reader.fail(place, "A variable of a matrix is text, a number, true or false", "write one of these")
    text = text_of(value)
    if SECRET_TOKEN.search(text):
        reader.fail(place, "A matrix names its runs, so it may not hold a secret", "let the script read the secret")
    return text


def _check_excludes(reader: Reader, said: _Said, place: Node) -> None:
    for name in dict.fromkeys(name for pairs in said.exclude for name in pairs if name not in said.lists):
        near = nearest(name, [*said.lists]) or "its variables are " + ", ".join(f"`{each}`" for each in said.lists)
        reader.tell(place, f"`exclude` names `{name[:60]}`, of which the matrix has no list", near)


def _scalars(node: Node) -> Iterator[Scalar]:
    if isinstance(node, Scalar):
        yield node
    elif isinstance(node, Sequence):
        for item in node.items:
            yield from _scalars(item)
    elif isinstance(node, MappingNode):
        for key, value in node.pairs:
            yield key
            yield from _scalars(value)


def combined(
    lists: Mapping[str, list[Value]], include: Iterable[Values] = (), exclude: Iterable[Values] = ()
) -> list[Values]:
    """Every combination, in order: the last list turns fastest; what include adds comes at the end."""
    texts = {name: [(value, text_of(value)) for value in values] for name, values in lists.items()}
    without = [_texts(pairs) for pairs in exclude if pairs]
    made: list[Values] = []
    own: list[dict[str, str]] = []
    for chosen in product(*texts.values()) if texts else ():
        words = dict(zip(texts, (text for _, text in chosen), strict=True))
        if not any(_agrees(words, pairs) for pairs in without):
            own.append(words)
            made.append(dict(zip(texts, (value for value, _ in chosen), strict=True)))
    return made + _included(made, own, include)


def _included(made: list[Values], own: list[dict[str, str]], include: Iterable[Values]) -> list[Values]:
    """Add to those of the lists what fits; the others come back."""
    alone: list[Values] = []
    names = own[0].keys() if own else {}
    for pairs in include:
        said = {name: text for name, text in _texts(pairs).items() if name in names}
        fitting = [values for values, words in zip(made, own, strict=True) if _agrees(words, said)]
        for values in fitting:
            values.update(pairs)
        if not fitting:
            alone.append(dict(pairs))
    return alone


def _texts(pairs: Values) -> dict[str, str]:
    return {name: text_of(value) for name, value in pairs.items()}


def _agrees(words: Mapping[str, str], pairs: Mapping[str, str]) -> bool:
    return all(words.get(name) == text for name, text in pairs.items())


def _labelled(made: Iterable[Values], names: tuple[str, ...]) -> Iterator[Combination]:
    """With the name of each; of two that are the same but for what no name shows, the later is numbered."""
    seen: set[str] = set()
    same: set[tuple[tuple[str, str], ...]] = set()
    for values in made:
        words = tuple((name, text_of(values[name])) for name in names if name in values)
        if words in same:
            continue
        same.add(words)
        label = ", ".join(f"{name}={_shown(text)}" for name, text in words)
        number, plain = 1, label
        while label in seen:
            label, number = f"{plain} #{number + 1}", number + 1
        seen.add(label)
        yield Combination(label=label, values=values)


def _shown(text: str) -> str:
    short = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return "".join(char if char.isprintable() else "?" for char in short)


def check_runs(reader: Reader, node: Node, tasks: Sequence_[TaskDefinition]) -> None:
    """Tell what no matrix may be, or not all matrices together."""
    count = sum(len(task.matrix.combinations) if task.matrix else 1 for task in tasks)
    if count > MAX_RUNS:
        told = f"The combinations of all matrices and the other tasks are {count:,} in all"
        reader.tell(node, told, f"use at most {MAX_RUNS:,}; split the job")
    for task in tasks:
        if task.matrix and task.method == "MANUAL":
            reader.tell(node, f"`{task.task_type[:60]}` asks people, once: it cannot have a `matrix`", "remove it")


def when(reader: Reader, node: Node) -> WhenFilter:
    found = WhenFilter(**WHEN.read(reader, node))
    if found == WhenFilter():
        reader.fail(node, "This `when` says nothing", "write `branch`, `event` or `path`, such as `branch: main`")
    return found


_GLOBS: Final = Key(Reader.strings, "texts")
WHEN: Final = Table("when", {"branch": _GLOBS, "event": _GLOBS, "path": _GLOBS})
