"""The repository says nothing of the machine it was written on, and holds nothing unfinished."""

import re

# Written in pieces, so that this file does not find itself.
PLACES = re.compile(
    "|".join([r"(?<![\w.~-])/wor" + r"k/", "/hom" + r"e/[a-z]", "/User" + r"s/[a-z]", r"(?<![\w.~-])/roo" + "t/"])
)
REGISTRIES = re.compile(
    "|".join(["pypi" + r"\.org", "python" + "hosted", r"(?<!emit-)index" + "-url", "registry" + r"\.npmjs"])
)
UNFINISHED = re.compile("|".join(["TO" + "DO", "FIX" + "ME", "NotImplemented" + "Error", "XX" + "X"]))
CONFLICT = re.compile(r"^(<{7} |={7}$|>{7} )", re.M)


def texts(tracked, *, without=()):
    for path in tracked:
        if path.name == "LICENSE" or any(part in path.parts for part in without):
            continue
        try:
            yield path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def found(pattern, pairs, root):
    return [
        f"{path.relative_to(root)}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()}"
        for path, text in pairs
        for match in pattern.finditer(text)
    ]


def test_no_file_names_a_place_of_this_machine(root, tracked):
    """House rule: paths of the machine that it was written on mean nothing to others. Tests may make some up."""
    assert found(PLACES, texts(tracked, without={"tests"}), root) == []


def test_no_file_names_a_registry(root, tracked):
    """House rule: which index packages come from is the user's setting."""
    assert found(REGISTRIES, texts(tracked), root) == []


def test_the_lock_is_hashed_and_names_no_place(root):
    """Every locked version has its hashes; nothing in the lock is a URL, a path or an index."""
    lock = (root / "requirements.txt").read_text(encoding="utf-8")
    pinned = re.findall(r"^([a-z0-9][a-z0-9._-]*)==", lock, re.M)
    assert len(pinned) > 40
    assert "://" not in lock
    assert re.findall(r"^-", lock, re.M) == []
    blocks = re.split(r"^(?=[a-z0-9])", lock, flags=re.M)[1:]
    assert [block.split("==")[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert len(blocks) == len(pinned)


def test_the_lock_holds_every_dependency(root, project):
    """What pyproject.toml asks for is locked, for running and for developing."""
    asked = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    names = {re.match(r"[A-Za-z0-9._-]+", one)[0].lower() for one in asked}
    lock = (root / "requirements.txt").read_text(encoding="utf-8")
    assert names - set(re.findall(r"^([a-z0-9][a-z0-9._-]*)==", lock, re.M)) == set()


def test_nothing_is_left_unfinished(root, tracked):
    """House rule: no reminders, no stubs, no half-merged files."""
    pairs = list(texts(tracked))
    code = ((path, text) for path, text in pairs if path.suffix in (".py", ".sh", ".html", ".css", ".js", ".sql"))
    assert found(UNFINISHED, code, root) == []
    assert found(CONFLICT, pairs, root) == []
