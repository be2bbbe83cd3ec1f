"""What is wrong in formicary.toml is said with its place."""

import pytest

from formicary.cli.settings import read_settings
from formicary.runner.core.errors import SetupError


def read(tmp_path, text):
    (tmp_path / "formicary.toml").write_text(text)
    return read_settings({}, environment={"HOME": str(tmp_path)}, folder=tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[repo]]\npath = "a"\n[[repo]]\nname = "x"\n', "`path` of repository 2 in formicary.toml is missing"),
        (
            '[[repo]]\npath = "a"\nbrnch = "x"\n',
            "`brnch` of repository 1 in formicary.toml is no setting; there is path, name, branch, visibility",
        ),
        ("prot = 1\n", "`prot` in formicary.toml is no setting; there is data, "),
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
