"""What is wrong in formicary.toml is said with its place."""

from pathlib import Path

import pytest

from formicary.cli.repository import RepositorySettings
from formicary.cli.settings import read_settings
from formicary.cli.watching import _with_settings
from formicary.runner.core.errors import SetupError
from formicary.runner.core.records import Repository
from formicary.runner.git.address import parse


def read(tmp_path, text):
    (tmp_path / "formicary.toml").write_text(text)
    return read_settings({}, environment={"HOME": str(tmp_path)}, folder=tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[[repo]]\npath = "a"\n[[repo]]\nname = "x"\n',
            "repository 2 in formicary.toml: it needs `path` or `url`, and not both",
        ),
        (
            'slack = "https://chat.example/hooks/s3cret"\n',
            "`slack` from formicary.toml: it is https://hooks.slack.com/services/… or a token xox…;",
        ),
        ('[[repo]]\nurl = "ftp://a/b"\n', "`url` of repository 1 in formicary.toml: `ftp://a/b` is no address that"),
        (
            '[[repo]]\nurl = "https://ada:s3cret@a/b"\n',
            "`url` of repository 1 in formicary.toml: The address https://a/b was given with a name or password in it.",
        ),
        (
            '[[repo]]\nurl = "git@a:b"\ntoken_env = "X"\n',
            "repository 1 in formicary.toml: a token is for http and https, and for the statuses of a `forge`;",
        ),
        (
            '[[repo]]\npath = "a"\nbrnch = "x"\n',
            "`brnch` of repository 1 in formicary.toml is no setting; there is path, url, name, branch, visibility",
        ),
        (
            '[[repo]]\nurl = "https://a/b"\nname = "x"\n[[repo]]\nurl = "https://a/c"\nname = "x"\n',
            "`repo` from formicary.toml: two repositories are called x; a name is one repository's",
        ),
        (
            '[[repo]]\nurl = "https://a/b"\nname = "x"\n[[repo]]\nurl = "https://a/b.git"\nname = "y"\n',
            "`repo` from formicary.toml: https://a/b.git stands there twice, with different settings; leave one",
        ),
        (
            '[[repo]]\npath = "/a"\n[[repo]]\npath = "/a"\nname = "y"\n',
            "`repo` from formicary.toml: /a stands there twice, with different settings; leave one",
        ),
        ("prot = 1\n", "`prot` in formicary.toml is no setting; there is "),
    ],
)
def test_a_wrong_key_is_said_with_its_place(tmp_path, text, said):
    with pytest.raises(SetupError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(said)


def test_home_is_home_in_the_file_too(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = read(tmp_path, 'data = "~/a"\nwork = "b"\n')
    assert (settings.data, settings.work) == (tmp_path / "a", tmp_path / "b")


def test_addresses_in_a_variable_are_separated_by_blanks(tmp_path):
    """`:` stands in addresses; paths alone are separated by it as ever."""

    def repos(value):
        settings = read_settings({"data": tmp_path}, environment={"FORMICARY_REPO": value}, folder=tmp_path)
        return [one.url or str(one.path) for one in settings.repo]

    assert repos("/a:/b") == ["/a", "/b"]
    assert repos("https://h:8443/a.git git@h:b /c") == ["https://h:8443/a.git", "git@h:b", "/c"]


def test_a_relative_work_folder_is_where_the_person_stands(tmp_path, monkeypatch):
    """Tasks go to other folders; the workspace stays where it was meant."""
    monkeypatch.chdir(tmp_path)
    found = read_settings({"data": tmp_path / "data", "work": Path("here")}, environment={}, folder=tmp_path)
    assert found.work_folder == tmp_path / "here"


@pytest.mark.parametrize(
    ("said", "forge", "slug"),
    [
        ({"url": "https://github.com/acme/hill.git"}, "github", "acme/hill"),
        ({"url": "https://github.com/acme/hill.git", "forge": "none"}, "", ""),
        ({"url": "https://git.example.org/acme/hill.git"}, "", ""),
        ({"url": "https://git.example.org/acme/hill.git", "forge": "github"}, "github", "acme/hill"),
        ({"path": "/srv/hill", "forge": "github", "slug": "acme/hill"}, "github", "acme/hill"),
    ],
)
def test_the_forge_is_said_or_found_out(said, forge, slug):
    """A repository that is only read may be watched as plain git."""
    one = RepositorySettings.model_validate(said)
    found = _with_settings(Repository(id=0, name="hill", path="x"), one, parse(one.url) if one.url else None)
    assert (found.forge, found.slug) == (forge, slug)


def test_the_same_said_twice_is_said_once(tmp_path):
    """`--repo . --repo .` harms nobody."""
    assert len(read(tmp_path, '[[repo]]\npath = "/a"\n[[repo]]\npath = "/a"\n').repo) == 2
