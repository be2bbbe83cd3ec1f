"""`formicary plugins`: which versions there are, and what one of them says."""

import json

import pytest

LINT = "job_type: lint\nsem_version: {}\nscript: ['echo {}']\n"
VERSIONS = [("1.0", "old"), ("1.2", "newer"), ("2.0-dev", "next")]


@pytest.fixture(scope="module")
def released(server):
    """Three versions, one commit each."""
    repository = server.get("/api/repos")["records"][0]["id"]
    for version, says in VERSIONS:
        server.repo.commit({".formicary/lint.yml": LINT.format(version, says)})
        server.call(f"/api/repos/{repository}/sync", "POST")
    return server


def test_versions_are_listed_the_newest_first(here, released):
    heads, *rows = here("plugins", "list").out.splitlines()
    assert heads.split() == ["plugin", "version", "commit", "from"]
    assert [row.split()[:2] for row in rows] == [["lint", "2.0-dev"], ["lint", "1.2"], ["lint", "1.0"]]
    assert rows[0].endswith("may change") and [row.split()[3] for row in rows] == ["app"] * 3
    assert len(json.loads(here("plugins", "list", "lint", "--json").out)) == 3
    assert "there are no plugins yet" in here("plugins", "list", "nobody").out


SHOWN = [
    ((), "newer"),
    (("--version", "^1.0"), "newer"),
    (("--version", "1.0"), "old"),
    (("--version", "2.0-dev"), "next"),
]


@pytest.mark.parametrize(("words", "says"), SHOWN, ids=str)
def test_one_is_shown_with_its_text(here, released, words, says):
    said = here("plugins", "show", "lint", *words)
    head, *text = said.out.splitlines()
    assert head.startswith("# lint ") and " app " in head
    assert text[-1] == f"script: ['echo {says}']"


def test_what_there_is_not_is_said(here, released):
    said = here("plugins", "show", "lint", "--version", "3.0")
    assert said.code == 1 and "there is no version 3.0 of `lint`" in said.err
    assert here("plugins", "show", "nobody").code == 1
    said = here("plugins", "show", "lint", "--version", "latest")
    assert said.code == 1 and "wanted" in said.err
