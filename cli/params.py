"""Words of the command line that several commands take: `--param K=V`, and the number of a request."""

from __future__ import annotations

from collections.abc import Sequence

import click

from formicary.cli import complete
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


class RequestType(click.ParamType[int]):
    name = "REQUEST"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        if not (text.isascii() and text.isdecimal() and 0 < int(text[:20]) < 1 << 63):
            self.fail(f"{text!r} is no request; `formicary status` shows their numbers", param, ctx)
        return int(text)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> complete.Items:
        return complete.requests(ctx, param, incomplete)


PARAM = ParamType()
REQUEST = RequestType()


def params_of(given: Sequence[tuple[str, str]]) -> dict[str, Value]:
    """Later ones win."""
    return dict(given)
