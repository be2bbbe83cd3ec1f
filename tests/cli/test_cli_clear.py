"""A token over plain HTTP is said, where others can read it on its way."""

import pytest

from formicary.cli.clear import in_the_clear
from formicary.cli.watching import tokens_in_the_clear
from formicary.runner.core.errors import SetupError
from formicary.runner.core.records import Repository


@pytest.mark.parametrize(
    ("url", "others_read"),
    [
        ("http://git.example/app.git", True),
        ("http://192.0.2.7:3000/app.git", True),
        ("http://[2001:db8::1]/app.git", True),
        ("HTTP://git.example/app.git", True),
        ("https://git.example/app.git", False),
        ("ssh://git@git.example/app.git", False),
        ("git@git.example:app.git", False),
        ("/srv/git/app.git", False),
        ("http://127.0.0.1:7777", False),
        ("http://127.8.8.8:7777", False),
        ("http://[::1]:7777", False),
        ("http://localhost:7777", False),
        ("http://app.localhost", False),
        ("http://0.0.0.0:7777", False),
        ("http://[oh", False),
    ],
)
def test_where_others_can_read(url, others_read):
    assert in_the_clear(url) is others_read


def test_a_start_names_the_repositories_whose_tokens_can_be_read():
    def credential(repository_id, name):
        if repository_id == 3:
            raise SetupError("The variable T is not set")
        return {1: "t", 2: None, 4: "t", 5: "t"}[repository_id]

    far = "http://git.example/app.git"
    said = list(
        tokens_in_the_clear(
            [
                Repository(id=1, name="open", path="/m", url=far),
                Repository(id=2, name="without", path="/m", url=far),
                Repository(id=3, name="later", path="/m", url=far),
                Repository(id=4, name="safe", path="/m", url="https://git.example/app.git"),
                Repository(
                    id=5, name="api", path="/m", url="https://git.example/b.git", api_url="http://git.example/api"
                ),
            ],
            credential,
        )
    )
    assert [sentence.split(" can be read")[0] for sentence in said] == [
        "the token of open",
        "the token of later",
        "the token of api",
    ]
    assert said[0].endswith(f"on its way to {far}; use its https address")


def test_adding_one_says_it_and_so_does_every_call_of_a_far_server(formicary, here, server, monkeypatch):
    said = here("repos", "--add", "http://git.invalid/far.git", "--name", "far")
    here("repos", "--forget", "far")
    assert "warning: http://git.invalid/far.git is not HTTPS; a token that you give it can be read" in said.err
    assert "warning" not in here("repos").err, "this machine hears it alone"
    monkeypatch.setenv("FORMICARY_TOKEN", "fmy_x")
    refused = formicary("status", "--server", "http://server.invalid")
    assert "warning: http://server.invalid is not HTTPS; your token can be read on its way" in refused.err
