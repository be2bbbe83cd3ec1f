"""`formicary schema`, fragments at the command line, and the line that `init` writes for editors."""

import json
import subprocess

import pytest
import yaml
from jsonschema import Draft202012Validator

JOB = "job_type: {}\ninclude: [fragments/a.yml]\nscript: echo $V\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / ".formicary" / "fragments").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    def write(**files):
        for name, text in files.items():
            (tmp_path / ".formicary" / f"{name.replace('__', '/')}.yml").write_text(text)
        return tmp_path

    return write


def test_the_schema_is_shown_or_written(project, formicary):
    said = formicary("schema")
    shown = json.loads(said.out)
    Draft202012Validator.check_schema(shown)
    assert said.code == 0 and shown["$defs"]["job"]["properties"]["cron_trigger"]["description"]
    assert formicary("schema", "--output", "x.json").out == ""
    assert json.loads((project() / "x.json").read_text()) == shown
    said = formicary("schema", "--output", "no/such/folder.json")
    assert said.code == 1 and "cannot be written" in said.err


def test_what_init_writes_names_a_schema_that_is_there(repo, formicary, monkeypatch):
    """The first line is where editors look; git does not see the file."""
    repo.commit({"Makefile": "test:\n"})
    monkeypatch.chdir(repo.path)
    assert ".git/formicary-schema.json" in formicary("init").out
    text = (repo.path / ".formicary" / "ci.yml").read_text()
    said = text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    schema = json.loads((repo.path / ".formicary" / said).read_text())
    Draft202012Validator(schema).validate(yaml.safe_load(text))


def test_validate_reads_what_is_included_and_tells_its_errors_once(project, formicary):
    project(a=JOB.format("a"), b=JOB.format("b"), fragments__a="environment: {V: v}\ntimout: 1\n")
    said = formicary("validate")
    assert said.code == 1 and said.out.count(".formicary/fragments/a.yml:2:1: ") == 1
    assert said.out.splitlines()[-1] == "✗ 3 files, 2 jobs: 1 error"
    project(fragments__a="environment: {V: v}\n")
    assert formicary("validate").out == "✓ 3 files, 2 jobs: all valid\n"


def test_validate_checks_fragments_that_nobody_includes(project, formicary, monkeypatch):
    top = project(a="job_type: a\nscript: x\n", fragments__a="timeout: soon\n", fragments__b="job_type: b\n")
    said = formicary("validate")
    assert ".formicary/fragments/a.yml:1:10: `soon` is not a duration" in said.out
    assert ".formicary/fragments/b.yml: The job `b` lies where fragments are" in said.out
    monkeypatch.chdir(top / ".formicary")
    assert "fragments/a.yml:1:10: " in formicary("validate", "fragments/a.yml").out


def test_validate_of_the_standard_input_knows_the_fragments_here(project, formicary, monkeypatch):
    import io
    import types

    project(fragments__a="environment: {V: v}\n")
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(JOB.format("a").encode())))
    assert formicary("validate", "-").code == 0


def test_run_includes(project, formicary):
    subprocess.run(["git", "init", "-q"], check=True)
    top = project(a=JOB.format("a"), fragments__a="environment: {V: from-the-fragment}\n")
    said = formicary("run", "a", "--data", str(top / "data"))
    assert said.code == 0 and "from-the-fragment" in said.out
