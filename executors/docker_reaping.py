"""The middle of the DOCKER executor: whose a container is, and what is done with those whose ant is gone.

Containers, networks and volumes carry the work folder of their ant, which a lock gives to one living ant alone. What
bears the name of a folder that nobody holds any more was left behind, by whichever process of this machine.
"""

from __future__ import annotations

import fcntl
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from formicary.executors.contract import Prepared
from formicary.executors.docker_api import Engine
from formicary.executors.docker_spec import ANT, EXECUTION, FENCE, HOST, WORK

LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class Owner:
    """An ant, by its machine and its work folder."""

    host: str
    work: str

    @classmethod
    def of(cls, work: str) -> Owner:
        return cls(platform.node(), work)

    def labels(self, prepared: Prepared) -> dict[str, str]:
        return {
            EXECUTION: prepared.task_execution_id,
            FENCE: str(prepared.fence),
            ANT: prepared.ant_id,
            HOST: self.host,
            WORK: self.work,
        }

    def may_remove(self, labels: Mapping[str, str]) -> bool:
        """Whether this was left by an earlier process of this ant, or by another ant that is gone."""
        work = labels.get(WORK, "")
        return labels.get(HOST) == self.host and bool(work) and (work == self.work or _abandoned(Path(work) / LOCK))


def _abandoned(lock: Path) -> bool:
    """Whether nobody holds this lock, or its folder is gone."""
    try:
        handle = os.open(lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False  # another user's: not ours to judge
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


async def reap(engine: Engine, owner: Owner) -> list[str]:
    """Remove what was left; call it before this ant makes anything. The names of the containers. Raises EngineAway,
    EngineSays."""
    removed = []
    for one in await engine.containers(WORK):
        if owner.may_remove(one.get("Labels") or {}):
            await engine.remove(one["Id"])
            removed.append(str((one.get("Names") or [one["Id"]])[0]).lstrip("/"))
    for network in await engine.networks(WORK):
        if owner.may_remove(network.get("Labels") or {}):
            await engine.remove_network(network["Id"])
    for volume in await engine.volumes(WORK):
        if owner.may_remove(volume.get("Labels") or {}):
            await engine.remove_volume(volume["Name"])
    return removed
