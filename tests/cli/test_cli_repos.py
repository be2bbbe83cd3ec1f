"""`formicary repos`: one that cannot be read holds up no other."""

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
