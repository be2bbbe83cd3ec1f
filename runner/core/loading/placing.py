"""What a definition says about where Kubernetes puts a task's pod, and what it is labelled with."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from formicary.runner.core.containing import Affinity, Requirement, Term
from formicary.runner.core.language.nodes import Node
from formicary.runner.core.loading.reader import Reader, Unread
from formicary.runner.core.loading.shapes import fits, one_of
from formicary.runner.core.loading.table import Key, Table
from formicary.runner.core.loading.words import Word, each, has, known, wrong

OPERATORS: Final = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")
EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute", "")
_NUMBERS: Final = frozenset({"Gt", "Lt"})
_INSTEAD: Final = "write it into the file; what outsiders write may not say where a task runs"
#: Kubernetes, "Labels and Selectors": a prefix that is a host, and a name of at most 63 characters.
_LABEL: Final = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
)
_VALUE: Final = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
_TOLERATION: Final = re.compile(rf"(?:{_LABEL.pattern})(?:={_VALUE.pattern})?|")
_ANYTHING: Final = re.compile(r".*", re.DOTALL)
account = Word(re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|"), "an account", "write a-z, 0-9, `-` and `.`")
label = Word(_LABEL, "the name of a label", "write letters, digits, `-`, `_`, `.`, and perhaps `a.host/` before it")


@dataclass(frozen=True)
class Labels:
    """Reads a mapping of names that look like `names` to texts that look like `values`."""

    what: str
    names: re.Pattern[str] = _LABEL
    values: re.Pattern[str] = _VALUE

    def __call__(self, reader: Reader, node: Node) -> dict[str, str]:
        found: dict[str, str] = {}
        if reader.empty(node):
            return found
        for name, key, value in reader.pairs(reader.mapping(node, self.what)):
            if not reader.settled(key):
                continue
            if not self.names.fullmatch(name):
                reader.tell(key, f"`{name[:60]}` is no name for `{self.what}`", "write letters, digits, `-`, `_`, `.`")
                continue
            try:
                found[name] = self._value(reader, value)
            except Unread:
                continue
        return found

    def _value(self, reader: Reader, node: Node) -> str:
        text = known(reader, node)
        if not self.values.fullmatch(text):
            remedy = "write at most 63 letters, digits, `-`, `_`, `.`"
            wrong(reader, node, f"`{text[:60]}` is no value for `{self.what}`", remedy)
        return text


def _tolerations(reader: Reader, node: Node) -> dict[str, str]:
    found = Labels("node_tolerations", _TOLERATION, _ANYTHING)(reader, node)
    for effect in found.values():
        if effect not in EFFECTS:
            words = ", ".join(f"`{one}`" for one in EFFECTS if one)
            reader.question(node, f"`{effect[:60]}` is not the effect of a taint", f"write one of {words}")
    return {name: effect for name, effect in found.items() if effect in EFFECTS}


def requirement(reader: Reader, node: Node) -> Requirement:
    fields = REQUIREMENT.read(reader, node)
    for key in ("key", "operator"):
        if not has(node, key):
            reader.fail(
                node, f"A requirement of a node needs `{key}`", "write `{key: disk, operator: In, values: [ssd]}`"
            )
        if key not in fields:
            raise Unread
    one = Requirement(**fields)
    many = len(one.values)
    if (one.operator in ("In", "NotIn") and not many) or (one.operator in _NUMBERS and many != 1):
        needed = "one number" if one.operator in _NUMBERS else "values"
        reader.fail(node, f"`{one.operator}` needs {needed}", "write `values: […]`")
    if one.operator.endswith("xist") or one.operator == "Exists":
        return one.model_copy(update={"values": ()})
    return one


def _required(reader: Reader, node: Node) -> tuple[Term, ...]:
    found: tuple[Term, ...] = REQUIRED.read(reader, node).get("node_selector_terms", ())
    return found


def _term(reader: Reader, node: Node) -> Term:
    return Term(**TERM.read(reader, node))


def _preferred(reader: Reader, node: Node) -> tuple[Term, ...]:
    return each(reader, node, _weighed)


def _weighed(reader: Reader, node: Node) -> Term:
    fields = PREFERRED.read(reader, node)
    term: Term = fields.get("preference", Term())
    return term.model_copy(update={"weight": fields.get("weight", 1)})


def affinity(reader: Reader, node: Node) -> Affinity:
    return Affinity(**AFFINITY.read(reader, node))


def _list_of(read: Callable[[Reader, Node], Any]) -> Callable[[Reader, Node], Any]:
    return lambda reader, node: each(reader, node, read)


REQUIREMENT: Final = Table(
    "a requirement",
    {
        "key": Key(label, "text"),
        "operator": Key(one_of(*OPERATORS), "operator"),
        "values": Key(Reader.strings, "texts"),
    },
)
TERM: Final = Table(
    "a term",
    {name: Key(_list_of(requirement), "requirements") for name in ("match_expressions", "match_fields")},
)
REQUIRED: Final = Table("required nodes", {"node_selector_terms": Key(_list_of(_term), "terms")})
PREFERRED: Final = Table("a preferred node", {"weight": Key(fits(1, 100), "count"), "preference": Key(_term, "term")})
AFFINITY: Final = Table(
    "affinity",
    {
        "required_during_scheduling_ignored_during_execution": Key(_required, "required_nodes", field="required"),
        "preferred_during_scheduling_ignored_during_execution": Key(_preferred, "preferred_nodes", field="preferred"),
    },
)
#: The keys of a task that only Kubernetes can follow.
KEYS: Final[Mapping[str, Key]] = {
    "node_selector": Key(Labels("node_selector"), "labels", late=True, code=True, instead=_INSTEAD),
    "node_tolerations": Key(_tolerations, "labels", late=True, code=True, instead=_INSTEAD),
    "affinity": Key(affinity, "affinity", late=True, code=True, instead=_INSTEAD),
    "pod_labels": Key(Labels("pod_labels"), "labels", late=True, code=True, instead=_INSTEAD),
    "pod_annotations": Key(Labels("pod_annotations", values=_ANYTHING), "labels", late=True),
    "service_account": Key(account, "text", late=True, code=True, instead=_INSTEAD),
}
