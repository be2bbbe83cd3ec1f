"""Expressions of a template as closures. The table at the end lists what may be written; the rest is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from jinja2 import nodes

from formicary.runner.core.language.functions import (
    FILTERS,
    FUNCTIONS,
    OWN_FILTERS,
    OWN_TESTS,
    TESTS,
    Refused,
    kind,
    nearest,
    size_of,
    text_of,
)
from formicary.runner.core.language.limits import MAX_INT, Fault
from formicary.runner.core.language.operators import bounded, holds, number, secret, weigh
from formicary.runner.core.language.run import UNDEFINED, Evaluate, Run

#: The only filters that leave a secret's token whole.
_SECRET_FILTERS: Final = frozenset({"default", "d", "string"})


@dataclass(frozen=True)
class Scope:
    """Which names of the context each loop variable comes from, and those of all lists around."""

    bound: Mapping[str, frozenset[str]] = field(default_factory=dict)
    enclosing: frozenset[str] = frozenset()

    def inside(self, targets: Sequence[str], sources: frozenset[str]) -> Scope:
        return Scope({**self.bound, **dict.fromkeys(targets, sources)}, self.enclosing | sources)

    def names_of(self, node: nodes.Node) -> frozenset[str]:
        found: set[str] = set()
        names = [node] if isinstance(node, nodes.Name) else node.find_all(nodes.Name)
        for name in names:
            found |= self.bound.get(name.name) or ({name.name} if name.name not in self.bound else set())
        return frozenset(found)


@dataclass(frozen=True)
class _Place:
    """What every builder is handed on: scope, place and where faults go."""

    scope: Scope
    offset: int
    faults: list[Fault]

    def build(self, node: nodes.Node) -> Evaluate:
        builder = _BUILDERS.get(type(node))
        if builder is None:
            return self.refuse(_name_of(node), "see the list of what a template may hold")
        return builder(node, self)

    def refuse(self, what: str, expected: str) -> Evaluate:
        self.faults.append(Fault(self.offset, f"{what} is not part of the template language", expected))
        return lambda run: UNDEFINED

    def fault(self, message: str, expected: str = "") -> Fault:
        return Fault(self.offset, message, expected)


def build(node: nodes.Node, scope: Scope, offset: int, faults: list[Fault]) -> Evaluate:
    return _Place(scope, offset, faults).build(node)


_SIGNS: Final[Mapping[type[nodes.Node], str]] = {
    nodes.Mul: "`*`",
    nodes.Div: "`/`",
    nodes.FloorDiv: "`//`",
    nodes.Mod: "`%`",
    nodes.Pow: "`**`",
    nodes.Slice: "A slice `[a:b]`",
}


def _name_of(node: nodes.Node) -> str:
    return _SIGNS.get(type(node), f"`{type(node).__name__.lower()}`")


def _const(node: nodes.Const, place: _Place) -> Evaluate:
    value = node.value
    if isinstance(value, int) and abs(value) > MAX_INT:
        place.faults.append(place.fault("This number is too large", "numbers have at most 64 bits"))
        value = 0
    return lambda run: value


def _name(node: nodes.Name, place: _Place) -> Evaluate:
    name = node.name

    def lookup(run: Run) -> Any:
        try:
            return run.names[name]
        except KeyError:
            run.missing.append(name)
            return UNDEFINED

    return lookup


def _list(node: nodes.List | nodes.Tuple, place: _Place) -> Evaluate:
    items = [place.build(item) for item in node.items]

    def made(run: Run) -> list[Any]:
        found = [_plain(item(run)) for item in items]
        weigh(found, run, place.offset)
        return found

    return made


def _plain(value: Any) -> Any:
    return "" if value is UNDEFINED else value


def _dict(node: nodes.Dict, place: _Place) -> Evaluate:
    pairs = [(place.build(pair.key), place.build(pair.value)) for pair in node.items]

    def made(run: Run) -> dict[str, Any]:
        found = {text_of(_plain(key(run))): _plain(value(run)) for key, value in pairs}
        weigh(found, run, place.offset)
        return found

    return made


def _attribute(node: nodes.Getattr, place: _Place) -> Evaluate:
    key = node.attr
    if key.startswith("_"):
        return place.refuse(f"`.{key}`", 'names that begin with `_` are taken with ["…"]')
    return _member(place.build(node.node), lambda run: key, place)


def _item(node: nodes.Getitem, place: _Place) -> Evaluate:
    return _member(place.build(node.node), place.build(node.arg), place)


def _member(owner: Evaluate, key: Evaluate, place: _Place) -> Evaluate:
    def member(run: Run) -> Any:
        value, at = owner(run), key(run)
        if value is UNDEFINED or at is UNDEFINED:
            return UNDEFINED
        if isinstance(value, dict):
            found = value.get(text_of(at), UNDEFINED)
        elif isinstance(value, list) and isinstance(at, int):
            found = value[at] if -len(value) <= at < len(value) else UNDEFINED
        else:
            raise place.fault(
                f"`{_short(at)}` cannot be taken of {kind(value)}",
                "`.` and `[]` work on mappings and lists; methods are not part of the language",
            )
        if found is UNDEFINED:
            run.missing.append(_short(at))
        return found

    return member


def _short(value: Any) -> str:
    return text_of(value)[:60]


def _compare(node: nodes.Compare, place: _Place) -> Evaluate:
    first = place.build(node.expr)
    rest = [(operand.op, place.build(operand.expr)) for operand in node.ops]

    def compare(run: Run) -> bool:
        left = first(run)
        for sign, side in rest:
            right = side(run)
            if not holds(sign, left, right, run, place.offset):
                return False
            left = right
        return True

    return compare


def _and(node: nodes.And, place: _Place) -> Evaluate:
    left, right = place.build(node.left), place.build(node.right)
    return lambda run: left(run) and right(run)


def _or(node: nodes.Or, place: _Place) -> Evaluate:
    left, right = place.build(node.left), place.build(node.right)
    return lambda run: left(run) or right(run)


def _not(node: nodes.Not, place: _Place) -> Evaluate:
    inner = place.build(node.node)
    return lambda run: not inner(run)


def _add(node: nodes.Add, place: _Place) -> Evaluate:
    left, right = place.build(node.left), place.build(node.right)

    def add(run: Run) -> Any:
        a, b = left(run), right(run)
        if a is UNDEFINED or b is UNDEFINED:
            return UNDEFINED
        if number(a) and number(b):
            return bounded(a + b, place.offset)
        if type(a) is type(b) and isinstance(a, (str, list)):
            run.budget.produce(place.offset, len(a) + len(b))
            return a + b
        raise place.fault(
            f"`+` cannot add {kind(a)} and {kind(b)}", "join texts with `~`, or make numbers with `| int`"
        )

    return add


def _sub(node: nodes.Sub, place: _Place) -> Evaluate:
    left, right = place.build(node.left), place.build(node.right)

    def subtract(run: Run) -> Any:
        a, b = left(run), right(run)
        if a is UNDEFINED or b is UNDEFINED:
            return UNDEFINED
        if not (number(a) and number(b)):
            raise place.fault(f"`-` cannot subtract {kind(b)} from {kind(a)}", "make numbers with `| int`")
        return bounded(a - b, place.offset)

    return subtract


def _sign(node: nodes.Neg | nodes.Pos, place: _Place) -> Evaluate:
    inner, negative = place.build(node.node), isinstance(node, nodes.Neg)

    def sign(run: Run) -> Any:
        value = inner(run)
        if value is UNDEFINED:
            return value
        if not number(value):
            raise place.fault(f"`-` before {kind(value)} means nothing", "make a number with `| int`")
        return -value if negative else value

    return sign


def _concat(node: nodes.Concat, place: _Place) -> Evaluate:
    parts = [place.build(part) for part in node.nodes]

    def concat(run: Run) -> str:
        texts = []
        for part in parts:
            text = text_of(_plain(part(run)))
            run.budget.produce(place.offset, len(text))
            texts.append(text)
        return "".join(texts)

    return concat


def _conditional(node: nodes.CondExpr, place: _Place) -> Evaluate:
    test, then = place.build(node.test), place.build(node.expr1)
    otherwise = place.build(node.expr2) if node.expr2 is not None else (lambda run: "")
    return lambda run: then(run) if test(run) else otherwise(run)


def _arguments(
    node: nodes.Filter | nodes.Test | nodes.Call, place: _Place
) -> tuple[list[Evaluate], dict[str, Evaluate]]:
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        place.refuse("`*` before an argument", "write the arguments out")
    kwargs = {str(pair.key): place.build(pair.value) for pair in node.kwargs}
    return [place.build(argument) for argument in node.args], kwargs


def _filter(node: nodes.Filter, place: _Place) -> Evaluate:
    if node.node is None:
        return place.refuse("A filter block", "use the filter in `{{ value | filter }}`")
    subject = place.build(node.node)
    args, kwargs = _arguments(node, place)
    if node.name in OWN_FILTERS:
        return _default(subject, args, kwargs, place)
    function = FILTERS.get(node.name)
    if function is None:
        known = nearest(node.name, [*FILTERS, *OWN_FILTERS])
        return place.refuse(f"The filter `{node.name}`", known or "the filters are " + ", ".join(sorted(FILTERS)))
    return _call(f"`{node.name}`", function, [subject, *args], kwargs, place)


def _default(subject: Evaluate, args: list[Evaluate], kwargs: Mapping[str, Evaluate], place: _Place) -> Evaluate:
    if len(args) > 2 or kwargs.keys() - {"boolean", "default_value"}:
        place.faults.append(place.fault("`default` takes one value", "write `{{ Name | default('value') }}`"))
    value = args[0] if args else kwargs.get("default_value", lambda run: "")
    falsy = args[1] if len(args) > 1 else kwargs.get("boolean", lambda run: False)

    def default(run: Run) -> Any:
        before = len(run.missing)
        found = subject(run)
        if found is UNDEFINED or found is None or (not found and falsy(run)):
            del run.missing[before:]
            return value(run)
        return found

    return default


def _call(
    name: str, function: Callable[..., Any], args: list[Evaluate], kwargs: Mapping[str, Evaluate], place: _Place
) -> Evaluate:
    keeps = name.strip("`") in _SECRET_FILTERS

    def call(run: Run) -> Any:
        values = [argument(run) for argument in args]
        named = {key: argument(run) for key, argument in kwargs.items()}
        if any(value is UNDEFINED for value in (*values, *named.values())):
            return UNDEFINED
        if not keeps and any(secret(value) for value in values):
            raise place.fault(
                f"{name} cannot look into a secret", "do this in the script, with the environment variable"
            )
        run.budget.produce(place.offset, sum(map(size_of, values)))
        try:
            result = function(*values, **named)
        except Refused as refused:
            raise place.fault(f"{name} {refused}", "convert the value first, or use another one") from None
        except TypeError:
            raise place.fault(f"{name} does not take these arguments", "check their number and names") from None
        except (ValueError, OverflowError, RecursionError):
            raise place.fault(f"{name} cannot do this with these values", "check them") from None
        run.budget.produce(place.offset, size_of(result))
        return result

    return call


def _test(node: nodes.Test, place: _Place) -> Evaluate:
    subject = place.build(node.node)
    args, kwargs = _arguments(node, place)
    if node.name in OWN_TESTS:
        return _defined(subject, node.name == "defined")
    function = TESTS.get(node.name)
    if function is None:
        known = nearest(node.name, [*TESTS, *OWN_TESTS])
        return place.refuse(f"The test `{node.name}`", known or "the tests are " + ", ".join(sorted(TESTS)))
    return _call(f"`is {node.name}`", function, [subject, *args], kwargs, place)


def _defined(subject: Evaluate, wanted: bool) -> Evaluate:
    def defined(run: Run) -> bool:
        before = len(run.missing)
        found = subject(run)
        del run.missing[before:]
        return (found is not UNDEFINED) is wanted

    return defined


def _function(node: nodes.Call, place: _Place) -> Evaluate:
    if not isinstance(node.node, nodes.Name):
        return place.refuse("A method call", "use a filter, such as `| lower`")
    function = FUNCTIONS.get(node.node.name)
    args, kwargs = _arguments(node, place)
    if function is None:
        known = nearest(node.node.name, list(FUNCTIONS))
        return place.refuse(f"The function `{node.node.name}`", known or "the functions are " + ", ".join(FUNCTIONS))
    return _call(f"`{node.node.name}`", function, args, kwargs, place)


_BUILDERS: Final[Mapping[type[nodes.Node], Callable[[Any, _Place], Evaluate]]] = {
    nodes.Const: _const,
    nodes.Name: _name,
    nodes.List: _list,
    nodes.Tuple: _list,
    nodes.Dict: _dict,
    nodes.Getattr: _attribute,
    nodes.Getitem: _item,
    nodes.Compare: _compare,
    nodes.And: _and,
    nodes.Or: _or,
    nodes.Not: _not,
    nodes.Add: _add,
    nodes.Sub: _sub,
    nodes.Neg: _sign,
    nodes.Pos: _sign,
    nodes.Concat: _concat,
    nodes.CondExpr: _conditional,
    nodes.Filter: _filter,
    nodes.Test: _test,
    nodes.Call: _function,
}
