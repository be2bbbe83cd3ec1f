"""Writes docs/cookbook.md from the first lines of examples/.formicary: python docs/recipes.py

Which examples belong together stands here; what each is about stands in itself.
"""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).with_name("cookbook.md")
FOLDER: Final = Path(__file__).parent.parent / "examples" / ".formicary"
GROUPS: Final = {
    "First steps": ("hello", "parallel", "defaults", "params", "outputs", "environment", "shell"),
    "Files": ("artifacts", "cache", "checkout", "retention", "expire"),
    "What starts a job": ("paths", "pull_request", "cron", "completed", "webhook"),
    "What runs next": ("exit_codes", "error_codes", "skip", "when", "allow_failure", "cleanup"),
    "Again, later, too long": ("retry", "restart_task", "job_retry", "restart_job", "pause", "sensor", "timeout"),
    "Many of one kind": ("templates", "matrix", "fan_out_items"),
    "Jobs of jobs": ("fan_out", "fork_join", "sub_workflow", "include", "plugin"),
    "People and the outside": ("approval", "notify", "http", "reports", "commands"),
    "Containers": ("container",),
    "Secrets": ("secret", "stored_secret"),
    "One at a time": ("concurrency", "resources"),
    "From the Go original": ("go_dialect",),
    "Whole pipelines": ("release", "image_pipeline", "etl", "train_evaluate_decide", "scan", "video"),
}  # fmt: skip
HEAD: Final = """# Cookbook

One idea a file, and some whole pipelines. All are in [examples/.formicary](../examples/.formicary), and the tests run
them. Copy one into `.formicary/` of your repository, or try it where it is:

```sh
cd examples
formicary run hello
```

[language.md](language.md) says what every key means. This page is made from the files by `make docs`.
"""


def page() -> str:
    return HEAD + "".join(f"\n## {title}\n\n{_table(names)}" for title, names in GROUPS.items())


def _table(names: tuple[str, ...]) -> str:
    return "| file | what it shows |\n|---|---|\n" + "".join(map(_row, names))


def _row(name: str) -> str:
    return f"| [`{name}.yml`](../examples/.formicary/{name}.yml) | {' '.join(about(name))} |\n"


def about(name: str) -> list[str]:
    """The lines at the top of an example, up to the first empty one."""
    lines = (FOLDER / f"{name}.yml").read_text(encoding="utf-8").splitlines()
    return [line.removeprefix("# ").replace("|", "\\|") for line in takewhile(lambda one: one.startswith("# "), lines)]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
