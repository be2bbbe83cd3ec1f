"""What the ground's tests look at: the checkout itself, as git knows it."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def tracked():
    """Every file that git keeps, and those that are new and not ignored; links are left out."""
    words = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=ROOT, check=True, capture_output=True).stdout
    found = [ROOT / name for name in listed.decode().split("\0") if name]
    return [path for path in found if path.is_file() and not path.is_symlink()]


def rows_after(text, marker):
    """The rows of the first table after `<!-- marker -->`, each a list of cells; without head and rule."""
    place = text.index(f"<!-- {marker} -->")
    lines = text[place:].splitlines()[1:]
    start = next(number for number, line in enumerate(lines) if line.startswith("|"))
    found = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return found


def names_in(cell):
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


@pytest.fixture(scope="session")
def rows():
    return rows_after


@pytest.fixture(scope="session")
def names():
    return names_in


@pytest.fixture(scope="session")
def docs(root):
    """Path → text of every page that people read."""
    tops = [root / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    pages = [*tops, *sorted((root / "docs").rglob("*.md"))]
    return {page: page.read_text(encoding="utf-8") for page in pages}
