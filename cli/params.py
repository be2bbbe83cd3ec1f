"""`--param K=V` on the command line."""

from __future__ import annotations

from collections.abc import Sequence

import click

from formicary.runner.core.definition import Value


class ParamType(click.ParamType[tuple[str, str]]):
    name = "K=V"

    def convert(
        self, value: str | tuple[str, str], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, equals, text = value.partition("=")
        if not equals or not name:
            self.fail(f"{value!r} is not of the form NAME=VALUE", param, ctx)
        return name, text


PARAM = ParamType()


def params_of(given: Sequence[tuple[str, str]]) -> dict[str, Value]:
    """Later ones win."""
    return dict(given)
