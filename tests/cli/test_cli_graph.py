"""`formicary graph` in a working tree, without a server."""

import shutil
from xml.etree import ElementTree

import pytest

CI = """\
job_type: ci
tasks:
  - {task_type: 'build <&"', script: [make], on_failed: mend}
  - {task_type: test, needs: ['build <&"'], script: [make]}
  - {task_type: mend, script: [mend]}
  - {task_type: sweep, script: [rm], always_run: true}
"""
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def project(repo, monkeypatch):
    repo.commit({".formicary/ci.yml": CI})
    monkeypatch.chdir(repo.path)


def test_as_text(formicary):
    dot, mermaid = formicary("graph").out, formicary("graph", "ci", "--format", "mermaid").out
    assert dot.startswith('digraph "ci"') and r'"build <&\"" -> "test" [label="needs"]' in dot
    assert mermaid.startswith("flowchart LR") and "|on_failed|" in mermaid and "<&" not in mermaid


def test_as_a_picture_that_stands_alone(formicary, tmp_path):
    """Well-formed whatever the names, without scripts and without other hosts."""
    formicary("graph", "--format", "svg", "-o", tmp_path / "ci.svg")
    text = (tmp_path / "ci.svg").read_text()
    drawn = ElementTree.fromstring(text)
    titles = [one.text for one in drawn.iter(f"{SVG}title")]
    assert sorted(titles) == ['build <&"', "mend", "sweep", "test"]
    assert len(list(drawn.iter(f"{SVG}path"))) == 2 and "failed" in "".join(drawn.itertext())
    assert "<script" not in text and text.count("http") == 1


def test_png_is_graphviz_s(formicary, tmp_path, monkeypatch):
    if shutil.which("dot"):
        formicary("graph", "--format", "png", "-o", tmp_path / "ci.png")
        assert (tmp_path / "ci.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setenv("PATH", str(tmp_path))
    said = formicary("graph", "--format", "png")
    assert said.code == 1 and "apt-get install graphviz" in said.err
