"""What the server says of its troubles is for the person who runs it."""

import logging
import re
import sys

import pytest

from formicary.cli.journal import OneLine, keep_journal
from formicary.runner.core.errors import WorldError


def said(error):
    try:
        raise error
    except Exception:
        record = logging.LogRecord("formicary.x", logging.ERROR, __file__, 1, "%s failed", ("it",), sys.exc_info())
    return OneLine("%(name)s: %(message)s").format(record)


def test_what_the_world_did_is_one_line_without_a_traceback():
    assert said(WorldError("the disk is full;\nmake room")) == "formicary.x: it failed: the disk is full; make room"


@pytest.mark.parametrize("error", [ValueError("odd"), OSError(5, "odd")])
def test_a_fault_of_ours_comes_whole(error):
    assert "Traceback" in said(error) and "odd" in said(error)


@pytest.mark.parametrize(
    ("systemd", "form"), [(False, r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ WARNING x: late\n"), (True, "WARNING x: late\n")]
)
def test_each_line_has_its_time_unless_systemd_puts_it(systemd, form, monkeypatch, capsys):
    monkeypatch.setattr(logging, "root", logging.RootLogger(logging.WARNING))
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    if systemd:
        monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    keep_journal(verbose=False)
    logging.root.handle(logging.root.makeRecord("x", logging.WARNING, __file__, 1, "late", (), None))
    assert re.fullmatch(form, capsys.readouterr().err)
