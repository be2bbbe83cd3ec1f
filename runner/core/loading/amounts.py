"""Reads amounts of processors, memory and disk, written as Kubernetes quantities: `500m`, `1.5`, `512Mi`, `2G`.

Source: Kubernetes, "Resource Management for Pods and Containers" and the syntax of `Quantity`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Final

from formicary.runner.core.containing import Amount
from formicary.runner.core.language.limits import MAX_INT
from formicary.runner.core.language.nodes import Node
from formicary.runner.core.loading.reader import Reader, Unread
from formicary.runner.core.loading.table import Key
from formicary.runner.core.loading.words import known, place, wrong

QUANTITY: Final = r"([0-9]{1,18}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})(?:([KMGTPE]i|[kMGTPEm])|[eE]([+-]?[0-9]{1,2}))?"
"""Its syntax, as a regular expression."""
_QUANTITY: Final = re.compile(QUANTITY)
_UNITS: Final = {"": Decimal(1), "m": Decimal("0.001"), "k": Decimal(1000)} | {
    letter + binary: Decimal(base) ** power
    for power, letter in enumerate("KMGTPE", 1)
    for binary, base in (("i", 1024), ("", 1000))
    if letter + binary != "K"
}
_DOCKERS: Final = re.compile(r"([0-9.]+)([bkmgBKMG])[bB]?")


@dataclass(frozen=True)
class Quantity:
    """Reads an amount; its number counts in `1/per` of what is written. `usual` is an example."""

    per: int
    usual: str

    def __call__(self, reader: Reader, node: Node) -> Amount:
        text = known(reader, node)
        number = self._number(text)
        if number is not None and 0 < number <= MAX_INT:
            return Amount(written=text, number=int(number))
        if number is not None and number <= 0:
            return self._refused(reader, node, f"`{text[:60]}` is nothing, so nothing could run", text)
        return self._refused(reader, node, f"`{text[:60]}` is not an amount", text)

    def _refused(self, reader: Reader, node: Node, what: str, text: str) -> Amount:
        remedy = f"write it as Kubernetes does, such as `{self._meant(text) or self.usual}`"
        if reader.go:
            reader.question(node, what, remedy)
            raise Unread
        wrong(reader, node, what, remedy)

    def _number(self, text: str) -> Decimal | None:
        found = _QUANTITY.fullmatch(text)
        if found is None or (self.per == 1 and found[2] == "m"):
            return None  # thousandths of a byte are a mistake: who writes 500m means mebibytes
        exact = Decimal(found[1]) * _UNITS[found[2] or ""] * Decimal(10) ** int(found[3] or 0)
        return (exact * self.per).to_integral_value(ROUND_CEILING)

    def _meant(self, text: str) -> str:
        """What somebody means who writes it as Docker does: 512m, 1g, 512MB."""
        found = _DOCKERS.fullmatch(text) if self.per == 1 else None
        unit = {"b": "", "k": "Ki", "m": "Mi", "g": "Gi"}
        return f"{found[1]}{unit[found[2].lower()]}" if found else ""


_OF: Final = {"cpu": Quantity(1000, "500m"), "memory": Quantity(1, "512Mi"), "ephemeral_storage": Quantity(1, "1Gi")}
KEYS: Final[Mapping[str, Key]] = {
    f"{what}_{kind}": Key(read, "amount") for what, read in _OF.items() for kind in ("limit", "request")
}
"""The keys of whatever runs in a container."""


def compared(reader: Reader, node: Node, fields: dict[str, object]) -> None:
    """Tell a request that is more than its limit."""
    for what in _OF:
        limit, request = fields.get(f"{what}_limit"), fields.get(f"{what}_request")
        if isinstance(limit, Amount) and isinstance(request, Amount) and request.number > limit.number:
            told = f"`{what}_request` ({request.written}) is more than `{what}_limit` ({limit.written})"
            reader.question(place(node, f"{what}_request"), told, "lower it, or raise the limit")
