"""`formicary repos`: one that cannot be read holds up no other, and one without definitions says so."""

import shutil

from repos import RepoBuilder


def test_a_look_that_fails_leaves_the_others_and_says_why(here, server, tmp_path):
    path = tmp_path / "away"
    RepoBuilder(path).commit({"a": "1"})
    assert here("repos", "--add", path).code == 0
    shutil.rmtree(path)
    said = here("repos", "--sync")
    here("repos", "--forget", "away")
    assert said.code == 0 and said.err == ""
    assert "app (" in said.out and "Synced" in said.out
    assert "; unavailable: " in next(line for line in said.out.split("away (")[1].splitlines() if "looked at" in line)


def test_one_without_definitions_says_so(here, server, tmp_path):
    """Those that were there once, and are gone at its head, are none."""
    bare = RepoBuilder(tmp_path / "bare")
    first = bare.commit({"a": "1"})
    said = here("repos", "--add", bare.path)
    none_at = "no job is defined at {}; commit a .formicary/*.yml"
    assert said.code == 0 and none_at.format(first[:10]) in said.out
    bare.commit({".formicary/ci.yml": "job_type: once\nscript: 'true'\n"})
    assert "no job is defined" not in here("repos", "--sync").out
    (bare.path / ".formicary/ci.yml").unlink()
    gone = bare.commit()
    listed = here("repos", "--sync").out
    here("repos", "--forget", "bare")
    assert "Orphaned" in listed and none_at.format(gone[:10]) in listed
