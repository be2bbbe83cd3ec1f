"""Node: which of npm, yarn and pnpm it is, and which of the scripts of package.json check it."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from formicary.cli.project import Cache, Find, Folder

#: The scripts that check something, in the order to run them.
SCRIPTS: Final = ("lint", "typecheck", "type-check", "build", "test")
_NO_TEST: Final = "no test specified"  # what `npm init` writes
_TESTS: Final = ("*.test.js", "*.test.mjs", "*.test.cjs", "*.spec.js", "test.js", "test-*.js")
_NPM: Final = Cache("npm", ("package-lock.json",), (".npm",))


def node(folder: Folder) -> Find | None:
    """None where there is no package.json."""
    if "package.json" not in folder:
        return None
    document = _json(folder.text("package.json"))
    manager = _manager(folder, document)
    scripts = _scripts(document)
    run = [f"{manager} run {name}" if name != "test" else f"{manager} test" for name in scripts]
    install, environment, cache = _install(manager, folder, document)
    commands = (*install, *(run or _without_scripts(folder, document)))
    how = f"{manager}: {', '.join(scripts)}" if scripts else f"{manager}, no script that checks it"
    return Find("Node", "package.json", how, commands, ("node", manager), environment=environment, cache=cache)


def _manager(folder: Folder, document: dict[str, Any]) -> str:
    said = re.match(r"(npm|yarn|pnpm)@", str(document.get("packageManager", "")))
    if said:
        return said[1]
    if "pnpm-lock.yaml" in folder:
        return "pnpm"
    return "yarn" if "yarn.lock" in folder else "npm"


def _scripts(document: dict[str, Any]) -> list[str]:
    found = document.get("scripts")
    said = found if isinstance(found, dict) else {}
    return [name for name in SCRIPTS if isinstance(said.get(name), str) and _NO_TEST not in said[name]]


def _install(
    manager: str, folder: Folder, document: dict[str, Any]
) -> tuple[tuple[str, ...], dict[str, str], Cache | None]:
    """The commands, the environment and the cache of what it depends on."""
    needs = any(document.get(name) for name in ("dependencies", "devDependencies", "optionalDependencies"))
    if not needs and "workspaces" not in document:
        return (), {}, None
    if manager == "pnpm":
        frozen = " --frozen-lockfile" if "pnpm-lock.yaml" in folder else ""
        cache = Cache("pnpm", ("pnpm-lock.yaml",), (".pnpm-store",)) if frozen else None
        return (f"pnpm install{frozen} --store-dir .pnpm-store",), {}, cache
    if manager == "yarn":
        return _yarn(folder)
    if "package-lock.json" in folder:
        return ("npm ci",), {"npm_config_cache": ".npm"}, _NPM
    return ("npm install",), {}, None


def _yarn(folder: Folder) -> tuple[tuple[str, ...], dict[str, str], Cache | None]:
    modern = ".yarnrc.yml" in folder
    environment = {"YARN_CACHE_FOLDER": ".yarn-cache"} | ({"YARN_ENABLE_GLOBAL_CACHE": "false"} if modern else {})
    if "yarn.lock" not in folder:
        return ("yarn install",), environment, None
    frozen = "--immutable" if modern else "--frozen-lockfile"
    return (f"yarn install {frozen}",), environment, Cache("yarn", ("yarn.lock",), (".yarn-cache",))


def _without_scripts(folder: Folder, document: dict[str, Any]) -> tuple[str, ...]:
    """node's own runner where there are tests; else at least the syntax of what it begins with."""
    if folder.anywhere(*_TESTS):
        return ("node --test",)
    main = document.get("main")
    begins = folder.first(*([main.removeprefix("./")] if isinstance(main, str) else []), "index.js", "index.mjs")
    if re.fullmatch(r"[\w./-]+", begins) and not begins.startswith("-"):
        return (f"node --check {begins}",)
    return ("npm pack --dry-run",)


def _json(text: str) -> dict[str, Any]:
    """What the file says; a broken one says nothing."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
