"""Calls of functions in Go's templates as closures: arguments are counted when a file is read, and paid for later."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from formicary.runner.core.language.functions import Absent, Refused, size_of, text_of
from formicary.runner.core.language.go.compare import COMPARISONS, compare
from formicary.runner.core.language.go.functions import FUNCTIONS, KEEP_SECRETS, OWN, random_between
from formicary.runner.core.language.limits import Fault, Missing
from formicary.runner.core.language.operators import secret, weigh
from formicary.runner.core.language.run import UNDEFINED, Evaluate, Run

_NOTHING: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Value:
    """An operand or pipeline that is read: how to get it, the names it uses, and whether it is the whole context."""

    evaluate: Evaluate
    names: frozenset[str] = _NOTHING
    root: bool = False
    constant: Any = UNDEFINED


class Unreadable(Fault):
    """This action is not part of the language."""


def function(name: str, offset: int, arguments: Sequence[Value]) -> Value:
    """A call, its number of arguments checked. Raises Unreadable."""
    low, high = OWN[name] if name in OWN else FUNCTIONS[name][1:]
    if not low <= len(arguments) <= high:
        wanted = f"{low}" if low == high else f"at least {low}" if len(arguments) < low else f"at most {high}"
        raise Unreadable(offset, f"`{name}` takes {wanted} values, and here are {len(arguments)}", _EXAMPLES)
    names = frozenset().union(*(argument.names for argument in arguments))
    build = _OWN.get(name, _common)
    return Value(build(name, offset, [argument.evaluate for argument in arguments]), names)


_EXAMPLES: Final = 'functions come first, and what is piped comes last: `{{trimPrefix .Ref "refs/heads/"}}`'


def _common(name: str, offset: int, arguments: Sequence[Evaluate]) -> Evaluate:
    does, opens = FUNCTIONS[name][0], name not in KEEP_SECRETS

    def call(run: Run) -> Any:
        values = [argument(run) for argument in arguments]
        if opens and any(map(secret, values)):
            raise Fault(
                offset, f"`{name}` cannot look into a secret", "do this in the script, with the environment variable"
            )
        for value in values:
            if not isinstance(value, int):
                weigh(value, run, offset)
        result = _done(name, offset, does, values)
        if result is UNDEFINED and not run.missing:
            run.missing.append(text_of(values[-1])[:60] if values[-1] is not UNDEFINED else name)
        run.budget.produce(offset, size_of(result))
        return result

    return call


def _done(name: str, offset: int, does: Callable[..., Any], values: Sequence[Any]) -> Any:
    try:
        return does(*values)
    except Absent as absent:
        raise Missing(offset, f"`{name}` {absent}", "give one: `default 0 .Name`") from None
    except Refused as refused:
        raise Fault(offset, f"`{name}` {refused}", "convert the value first, or use another one") from None
    except (ValueError, OverflowError, RecursionError):
        raise Fault(offset, f"`{name}` cannot do this with these values", "check them") from None


def _compared(name: str, offset: int, arguments: Sequence[Evaluate]) -> Evaluate:
    assert name in COMPARISONS
    return lambda run: compare(name, [argument(run) for argument in arguments], run, offset)


def _and(name: str, offset: int, arguments: Sequence[Evaluate]) -> Evaluate:
    def both(run: Run) -> Any:
        value: Any = UNDEFINED
        for argument in arguments:
            value = argument(run)
            if not value:
                break
        return value

    return both


def _or(name: str, offset: int, arguments: Sequence[Evaluate]) -> Evaluate:
    def either(run: Run) -> Any:
        value: Any = UNDEFINED
        for argument in arguments:
            value = argument(run)
            if value:
                break
        return value

    return either


def _not(name: str, offset: int, arguments: Sequence[Evaluate]) -> Evaluate:
    return lambda run: not arguments[0](run)


def _default(name: str, offset: int, arguments: Sequence[Evaluate]) -> Evaluate:
    """The original's order: `default "value" .Name`. Only what is missing, nil or empty text is replaced."""
    instead, subject = arguments

    def default(run: Run) -> Any:
        before = len(run.missing)
        found = subject(run)
        if found is UNDEFINED or found is None or found == "":
            del run.missing[before:]
            return instead(run)
        return found

    return default


def _random(name: str, offset: int, arguments: Sequence[Evaluate]) -> Evaluate:
    def random(run: Run) -> int:
        low, high = _done(name, offset, random_between, [argument(run) for argument in arguments])
        return run.roll(low, high)

    return random


_OWN: Final[Mapping[str, Callable[[str, int, Sequence[Evaluate]], Evaluate]]] = {
    **dict.fromkeys(COMPARISONS, _compared),
    "and": _and,
    "or": _or,
    "not": _not,
    "default": _default,
    "Random": _random,
}
