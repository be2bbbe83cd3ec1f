"""What `include` names, and a text that carries what it includes: itself, and each fragment as comments behind it.

Such a text says all that a version of a definition says, so it is what is stored, digested and read again later.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from formicary.runner.core.language.limits import MAX_FRAGMENTS, Budget, Fault
from formicary.runner.core.language.nodes import Mapping as MappingNode
from formicary.runner.core.language.nodes import Scalar, Sequence, compose
from formicary.runner.core.language.source import documents, normal

FOLDER: Final = "fragments/"
"""Below `.formicary`. What lies there is no job by itself."""
_KEY: Final = re.compile(r"^include:(?=[ \t\n]|\Z)", re.M)
#: Where the value of a key at the margin ends: at the next line that begins with anything but these.
_NEXT: Final = re.compile(r"^(?![ \t\n#\]]|-[ \t\n]|\Z)", re.M)
_PATH: Final = re.compile(rf"{FOLDER}(?:[\w@+ -][\w.@+ -]*/)*[\w@+ -][\w.@+ -]*\.ya?ml\Z")
_HEAD: Final = "# formicary: what is included from "
_LINE: Final = "#|"
_END: Final = re.compile(r"(?:\A|\n)# formicary: ([0-9]{1,7}) characters are the file itself\n\Z")


@dataclass(frozen=True)
class Wanted:
    """One path of `include`, and where it stands."""

    path: str
    offset: int


def wanted(text: str) -> list[Wanted]:
    """What one document includes; as it is read before anything is rendered, only a line that begins with `include:`
    counts. Raises Fault."""
    found = _KEY.search(text)
    if found is None:
        return []
    after = _NEXT.search(text, found.end())
    said = text[found.start() : after.start() if after else len(text)]
    try:
        tree = compose(said, Budget())
    except Fault as fault:
        fault.offset = found.start() + max(fault.offset, 0)
        raise
    value = tree.pairs[0][1] if isinstance(tree, MappingNode) else None
    items = value.items if isinstance(value, Sequence) else [value]
    paths = [_wanted(item, found.start()) for item in items if not (isinstance(item, Scalar) and not item.text)]
    if len(paths) > MAX_FRAGMENTS:
        raise Fault(found.start(), f"This includes more than {MAX_FRAGMENTS} fragments", "join some of them")
    return paths


def _wanted(node: object, offset: int) -> Wanted:
    if not isinstance(node, Scalar):
        raise Fault(offset, "`include` takes a list of paths", f"write `include: [{FOLDER}python.yml]`")
    path, offset = node.text, offset + node.start
    if "{{" in path or "{%" in path:
        raise Fault(offset, "`include` may not hold a template", "it is read before anything is rendered")
    if not _PATH.match(path):
        told = f"`{path[:60]}` is not the path of a fragment"
        raise Fault(offset, told, f"put it below .formicary/{FOLDER} and write `{FOLDER}name.yml`")
    return Wanted(path, offset)


def packed(text: str, fragments: Mapping[str, str]) -> str:
    """The text of a file with those of the fragments that it includes. Raises Fault where it looks packed already."""
    if _END.search(text):
        raise Fault(-1, "The last line of this file is one that Formicary writes itself", "remove it")
    paths: dict[str, None] = {}
    if not _KEY.search(text):
        return text
    for document in documents(normal(text)):
        try:
            paths.update(dict.fromkeys(one.path for one in wanted(document.text)))
        except Fault:
            continue  # told when it is compiled
    known = [path for path in paths if path in fragments]
    if not known:
        return text
    lines = [] if text.endswith("\n") else [""]
    for path in known:
        lines.append(_HEAD + path)
        lines += (_LINE + line for line in normal(fragments[path]).split("\n"))
    return text + "\n".join([*lines, f"# formicary: {len(text)} characters are the file itself\n"])


def unpacked(text: str) -> tuple[str, dict[str, str]]:
    """The file itself, and the fragments by their path."""
    end = _END.search(text)
    if end is None or int(end[1]) > end.start() + 1:
        return text, {}
    fragments: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text[int(end[1]) : end.start()].split("\n"):
        if line.startswith(_HEAD):
            lines = fragments.setdefault(line.removeprefix(_HEAD), [])
        elif line.startswith(_LINE):
            lines.append(line.removeprefix(_LINE))
    return text[: int(end[1])], {path: "\n".join(lines) for path, lines in fragments.items()}


def place(path: str, fragment: str) -> str:
    """Where a fragment lies, beside the file that includes it."""
    before, folder, _ = path.rpartition(".formicary/")
    return f"{before}{folder or '.formicary/'}{fragment}"


def parted(texts: Mapping[str, str], folder: str) -> tuple[dict[str, str], dict[str, str]]:
    """Files of `.formicary`, which lies at `folder`: those that hold jobs; and fragments, by their path below it."""
    below = f"{folder}/{FOLDER}"
    jobs = {path: text for path, text in texts.items() if not path.startswith(below)}
    return jobs, {path.removeprefix(f"{folder}/"): text for path, text in texts.items() if path.startswith(below)}
