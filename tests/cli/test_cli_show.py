"""Logs as lines: whole ones, whose they are, harmless."""

from formicary.cli.show import Lines, retried_line, state_line

ONE = {"id": "1-1"}
TWO = {"id": "1-2"}


def out(text, at=0.0):
    return {"t": at, "s": "out", "text": text}


def test_lines_of_two_tasks_are_never_mixed(capfd):
    show = Lines(prefix=True)
    show.tasks(["one", "three"])
    show.records("one", ONE, [out("be")])
    show.records("three", TWO, [out("whole\n")])
    show.records("one", ONE, [out("gun\nrest")])
    show.log_ended("one", ONE)
    assert capfd.readouterr().out == "three | whole\none   | begun\none   | rest\n"


def test_commands_and_our_own_words_are_told_apart(capfd):
    show = Lines()
    records = [{"t": 0, "s": "cmd", "text": "a\nb"}, out("no newline"), {"t": 0, "s": "sys", "text": "Done."}]
    show.records("one", ONE, records)
    assert capfd.readouterr().out == "$ a\n$ b\nno newline\n· Done.\n"


def test_a_line_bears_the_time_of_its_beginning(capfd):
    show = Lines(stamps=True)
    show.records("one", ONE, [out("be", 1.5), out("gun\n", 9.0)])
    assert capfd.readouterr().out == "1970-01-01T00:00:01.500Z begun\n"


def test_a_colour_that_is_left_on_ends_with_its_line(monkeypatch):
    """T15: what a task wrote does not reach into the next line."""
    said = []
    monkeypatch.setattr("click.echo", said.append)
    Lines().records("one", ONE, [out("\x1b[31mred\nplain\n")])
    assert said == ["\x1b[31mred\x1b[0m\nplain"]


def test_states_worth_a_line():
    attempt = {"started_at": "2026-01-01T00:00:00Z", "ended_at": "2026-01-01T00:00:02Z", "error_message": "oh"}
    task = {"task_type": "t", "state": "FAILED", "reason": "", "retry_at": None, "attempts": [attempt, attempt]}
    assert plain(state_line(task)) == "✗ t (2.0 s), attempt 2: oh"
    assert plain(state_line({**task, "state": "EXECUTING"})) == "▸ t (attempt 2)"
    assert state_line({**task, "state": "READY"}) == ""
    assert plain(retried_line(task, {**attempt, "state": "FAILED"})) == "↻ t (2.0 s): oh; again"
    ended = {**attempt, "state": "FAILED", "error_message": "It ended."}
    assert plain(retried_line(task, ended)) == "↻ t (2.0 s): It ended; again", "one sentence, one full stop"


def plain(text):
    import click

    return click.unstyle(text)
