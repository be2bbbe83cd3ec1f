"""Workflow commands in the output, and the file $FORMICARY_OUTPUT."""

import pytest

from formicary.ant.commands import Commands
from formicary.ant.outputs import MAX_OUTPUTS, limited, parse


def read(data, size):
    commands = Commands()
    for at in range(0, len(data), size):
        commands.feed(data[at : at + size])
    commands.close()
    return commands


@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
def test_commands_across_chunks(size):
    commands = read(
        b"::set-output name=version::1.2.3\r\nnot ::set-output name=no::x\n::warning::careful%0Anow\n"
        b"::error file=a.py,line=7::bad: thing\n::group::x\n:: set-output name=no::y\n::notice::n\n"
        b"::set-output name=last::a::b",
        size,
    )
    assert commands.outputs == {"version": "1.2.3", "last": "a::b"}
    assert commands.warnings == ["warning: careful\nnow", "error: a.py:7: bad: thing"]


def test_long_lines_are_no_commands():
    commands = read(b"::set-output name=a::" + b"x" * 100_000 + b"\n::set-output name=b::1\n", 4096)
    assert commands.outputs == {"b": "1"}


def test_outputs():
    outputs, warnings = parse(b"a=1\nb = x=y \nempty=\n\nlong<<EOF\none\n two=2\nEOF\nr=\r\nurl=http://h/?a<<b\n")
    assert outputs == {"a": "1", "b": " x=y ", "empty": "", "long": "one\n two=2", "r": "", "url": "http://h/?a<<b"}
    assert warnings == []


def test_wrong_outputs_are_said():
    outputs, warnings = parse(b"just words\n1x=2\nopen<<END\nrest\n")
    assert outputs == {"open": "rest"}
    assert len(warnings) == 3


def test_outputs_are_limited():
    assert parse(b"a=" + b"x" * MAX_OUTPUTS)[0] == {}
    taken, warnings = limited({"a": "x" * (MAX_OUTPUTS - 10), "b": "y" * 20, "bad name": ""})
    assert list(taken) == ["a"] and len(warnings) == 2
