"""The ants that are here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from formicary.webhook.api import shared
from formicary.webhook.api.shared import Listed
from formicary.webhook.operations import Call, Operation
from formicary.webhook.parts import AntStatus


class AntView(shared.View):
    ant_id: str
    tags: tuple[str, ...]
    methods: tuple[str, ...]
    without: Mapping[str, str]
    platform: str
    hands: int
    free: int
    state: str
    running: tuple[str, ...]


def view(ant: AntStatus) -> AntView:
    return AntView(
        ant_id=ant.ant_id,
        tags=tuple(sorted(ant.tags)),
        methods=tuple(sorted(ant.methods)),
        without=dict(sorted(ant.without.items())),
        platform=ant.platform,
        hands=ant.hands,
        free=ant.free,
        state=ant.state,
        running=tuple(ant.running),
    )


async def show_list(call: Call) -> Listed[AntView]:
    return shared.listed(shared.cut(call.door.queen.ants(), call.query), view)


OPERATIONS: Final = (
    Operation(
        "GET",
        "/api/ants",
        "The ants that are here, and what they do",
        show_list,
        tag="Ants",
        everything=True,
        query=shared.PageQuery,
        answer=Listed[AntView],
        errors=(422,),
    ),
)
