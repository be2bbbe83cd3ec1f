"""`formicary validate`: everything that is wrong, at once, at its place."""

import io
import json
import types

import pytest

GOOD = "job_type: {}\nscript: echo\n"
BAD = "job_type: bad\nscript: echo\ntimout: 3\nretry: many\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".formicary").mkdir()

    def write(**files):
        for name, text in files.items():
            (tmp_path / ".formicary" / f"{name}.yml").write_text(text)
        return tmp_path

    return write


def test_good_files_are_counted(folder, formicary):
    folder(a=GOOD.format("a"), b=GOOD.format("b") + "---\n" + GOOD.format("c"))
    said = formicary("validate")
    assert (said.code, said.out) == (0, "✓ 2 files, 3 jobs: all valid\n")


def test_all_errors_of_all_files_with_place_and_caret(folder, formicary):
    """Editors and terminals can open PATH:LINE:COLUMN."""
    folder(a=BAD, b="job_type: b\nscripts: echo\n")
    said = formicary("validate")
    assert said.code == 1
    lines = said.out.splitlines()
    assert lines[0].startswith(".formicary/a.yml:3:1: ")
    assert lines[1:3] == ["    timout: 3", "    ^"]
    assert any(line.startswith(".formicary/a.yml:4:") for line in lines)
    assert any(line.startswith(".formicary/b.yml:2:1: ") for line in lines)
    assert lines[-1].startswith("✗ 2 files, 2 jobs: ")


def test_the_folder_is_found_from_below(folder, formicary, monkeypatch):
    top = folder(a=GOOD.format("a"))
    (top / "src" / "deep").mkdir(parents=True)
    monkeypatch.chdir(top / "src" / "deep")
    assert formicary("validate").code == 0


def test_the_same_job_twice_is_an_error_at_its_line(folder, formicary):
    folder(a=GOOD.format("ci"), b=f"{GOOD.format('other')}---\n{GOOD.format('ci')}")
    said = formicary("validate")
    assert said.code == 1
    assert ".formicary/b.yml:4:1: job_type `ci` is defined in .formicary/a.yml already" in said.out


def test_json_has_every_field(folder, formicary):
    folder(a=BAD)
    said = formicary("validate", "--json")
    found = json.loads(said.out)
    assert said.code == 1 and len(found) >= 2
    assert set(found[0]) == {"path", "line", "column", "message", "expected", "severity", "job_type"}
    assert (found[0]["path"], found[0]["line"], found[0]["job_type"]) == (".formicary/a.yml", 3, "bad")
    folder(a=GOOD.format("a"))
    assert json.loads(formicary("validate", "--json").out) == []


def test_standard_input(formicary, monkeypatch):
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(BAD.encode())))
    said = formicary("validate", "-")
    assert said.code == 1 and said.out.startswith("<stdin>:3:1: ")


def test_a_file_that_is_no_text(folder, formicary):
    top = folder()
    (top / ".formicary" / "a.yml").write_bytes(b"job_type: a\nscript: \xff\n")
    said = formicary("validate")
    assert said.code == 1 and ".formicary/a.yml:2:1: this line is not UTF-8 text" in said.out


@pytest.mark.parametrize(
    ("words", "text"),
    [((), "there is no .formicary folder here"), (("nope.yml",), "does not exist"), ((".",), "no .yml or .yaml files")],
)
def test_nothing_to_check_is_said(words, text, formicary, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = formicary("validate", *words)
    assert said.code == 1 and text in said.err


def test_carets_stand_below_tabs_and_wide_characters():
    from formicary.cli.validate import shown
    from formicary.runner.core.errors import Problem

    text = shown(Problem("a.yml", 1, 4, "wrong", source="\t日x!"))
    assert text.splitlines()[-1].endswith("    \t   \x1b[31m\x1b[1m^\x1b[0m")
