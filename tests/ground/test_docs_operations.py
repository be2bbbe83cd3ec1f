"""docs/operations.md says what the server takes: every setting, its option, its variable, its default."""

import os
import tomllib
from pathlib import Path

import pytest
from pydantic_core import PydanticUndefined

from formicary.cli.serve import command
from formicary.cli.settings import PREFIX, RepositorySettings, Settings, read_settings

NOTHING = "—"
#: What depends on the machine is said in words.
IN_WORDS = {"data": "see below", "work": "see below", "hands": "processors, at least 2"}


@pytest.fixture(scope="module")
def page(root):
    return (root / "docs" / "operations.md").read_text(encoding="utf-8")


def option_of(name):
    options = {one.name: one.opts[0] for one in command.params}
    return f"`{options[name]}`" if name in options else NOTHING


def default_of(name, field):
    if name in IN_WORDS:
        return IN_WORDS[name]
    value = field.default
    if value is PydanticUndefined or value in (None, "", ()):
        return NOTHING
    return f"`{value:g}`" if isinstance(value, int | float) else f"`{value}`"


def test_every_setting_is_in_the_table(page, rows, names):
    """Settings: option, variable and default of each are those of the program."""
    said = {names(row[0])[0]: row[1:4] for row in rows(page, "settings")}
    wanted = {
        name: [option_of(name), f"`{PREFIX}{name.upper()}`", default_of(name, field)]
        for name, field in Settings.model_fields.items()
    }
    assert said == wanted


def test_every_key_of_a_repository_is_in_the_table(page, rows, names):
    """What formicary.toml may say of a repository."""
    assert {names(row[0])[0] for row in rows(page, "repository")} == set(RepositorySettings.model_fields)


def test_the_example_of_the_file_is_taken(page, tmp_path):
    """The formicary.toml of the page is read as it stands."""
    text = page.split("```toml\n", 1)[1].split("```", 1)[0]
    (tmp_path / "formicary.toml").write_text(text)
    found = read_settings({"data": tmp_path / "data"}, environment={}, folder=tmp_path)
    assert tomllib.loads(text)["hands"] == found.hands
    said = [(one.name or one.url, one.branch, one.visibility) for one in found.repo]
    assert said == [("app", "main", "public"), ("https://github.com/owner/lib.git", "", "private")]


def test_the_default_folders_are_those_of_the_page(page, tmp_path):
    """Where things are when nobody says."""
    root = os.geteuid() == 0
    place = "/var/lib/formicary" if root else "$XDG_STATE_HOME/formicary"
    assert f"`{place}`" in page
    found = read_settings({}, environment={"XDG_STATE_HOME": str(tmp_path)}, folder=tmp_path)
    assert found.data == (Path(place) if root else tmp_path / "formicary")


def test_the_folders_of_the_data_folder_are_listed(page, tmp_path):
    """What lies in the data folder is named on the page (files of SQLite by their endings)."""
    from formicary.runner.artifacts.directory import DirectoryStore
    from formicary.runner.store.sqlite import open_store
    from formicary.webhook import datafolder

    store = open_store(tmp_path / "data")
    try:
        DirectoryStore(tmp_path / "data" / "artifacts")
        datafolder.write_server_json(tmp_path / "data", "http://127.0.0.1:1")
        there = {path.name + ("/" if path.is_dir() else "") for path in (tmp_path / "data").iterdir()}
    finally:
        store.close()
    assert len(there) >= 4
    assert {name for name in there if f"`{name}`" not in page and not name.endswith(("-wal", "-shm"))} == set()
