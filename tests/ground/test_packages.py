"""What an installed Formicary holds: every package of the checkout, and every file that these read."""

import subprocess
import sys
import zipfile
from fnmatch import fnmatch

import pytest

#: Top-level folders that are no rooms.
NOT_INSTALLED = {"bench", "build", "dist", "docs", "examples", "tests"}
CODE = {".py", ".pyc"}


@pytest.fixture(scope="session")
def rooms(root, tracked):
    """Package name → its folder, for every folder with an __init__.py."""
    found = {}
    for path in tracked:
        folder = path.parent.relative_to(root)
        if path.name == "__init__.py" and folder.parts and folder.parts[0] not in NOT_INSTALLED:
            found[".".join(("formicary", *folder.parts))] = path.parent
    return found


def data_files(folder, rooms, tracked):
    """Files of this package that are no code, subfolders that are no packages included."""
    others = {other for other in rooms.values() if other != folder and other.is_relative_to(folder)}
    below = (path for path in tracked if path.is_relative_to(folder) and path.suffix not in CODE)
    return [path for path in below if not any(path.is_relative_to(other) for other in others)]


def test_the_list_of_packages_is_the_disk_s(project, rooms):
    """A forgotten sub-package works in an editable install and is missing from the wheel."""
    assert set(project["tool"]["setuptools"]["packages"]) == set(rooms)


def test_package_data_covers_every_file(project, rooms, tracked):
    """Templates, styles and SQL are in the wheel, and every pattern finds something."""
    patterns = project["tool"]["setuptools"]["package-data"]
    missed, used = [], set()
    for package, folder in rooms.items():
        for path in data_files(folder, rooms, tracked):
            name = path.relative_to(folder).as_posix()
            hits = [one for one in patterns.get(package, ()) if fnmatch(name, one)]
            used.update((package, one) for one in hits)
            if not hits:
                missed.append(f"{package}: {name}")
    assert missed == []
    assert used == {(package, one) for package, many in patterns.items() for one in many}


def test_the_root_is_a_namespace(root):
    """`formicary` is a namespace: an __init__.py at the root would make the checkout itself the package."""
    assert not (root / "__init__.py").exists()


def test_type_checkers_follow_the_link(root):
    """mypy and import-linter see the rooms as formicary.<room> through a committed link."""
    link = root / ".typing" / "formicary"
    assert link.is_symlink()
    assert link.readlink().as_posix() == ".."
    words = ["git", "-c", "safe.directory=*", "ls-files", "-s", ".typing/formicary"]
    listed = subprocess.run(words, cwd=root, check=True, capture_output=True, text=True).stdout
    assert listed.startswith("120000 ")


def test_every_module_is_below_a_package(root, rooms, tracked):
    """A folder with code and without __init__.py would be installed nowhere."""
    folders = {path.parent for path in tracked if path.suffix == ".py"}
    inside = {folder for folder in folders if folder != root and folder.relative_to(root).parts[0] not in NOT_INSTALLED}
    assert inside - set(rooms.values()) == set()


@pytest.fixture(scope="session")
def wheel(root, tracked, tmp_path_factory):
    """Built from a copy of what git keeps, so that nothing of this checkout's leftovers gets in."""
    copy = tmp_path_factory.mktemp("copy")
    for path in tracked:
        target = copy / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    out = tmp_path_factory.mktemp("wheel")
    words = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*words, "--wheel-dir", str(out), str(copy)], check=True, capture_output=True, text=True)
    (built,) = out.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_holds_what_the_disk_holds(root, rooms, tracked, wheel):
    """No package is missing from the wheel, no file of one, and nothing else is in it."""
    wanted = set()
    for folder in rooms.values():
        inside = [path for path in tracked if path.parent == folder and path.suffix == ".py"]
        for path in (*inside, *data_files(folder, rooms, tracked)):
            wanted.add(f"formicary/{path.relative_to(root).as_posix()}")
    assert {name for name in wheel if ".dist-info/" not in name} == wanted


def test_the_wheel_says_what_it_is(wheel, project):
    """Licence, command and dependencies are in the metadata."""
    (metadata,) = (data.decode() for name, data in wheel.items() if name.endswith(".dist-info/METADATA"))
    (points,) = (data.decode() for name, data in wheel.items() if name.endswith(".dist-info/entry_points.txt"))
    assert "License-Expression: Apache-2.0" in metadata
    assert any(name.endswith("/LICENSE") for name in wheel)
    assert "formicary = formicary.cli.main:main" in points
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist: ")]
    assert len(required) == len(project["project"]["dependencies"])
