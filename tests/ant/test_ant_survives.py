"""D8, D12: names that are no text, files that nobody may read, and folders of dead ants cost no attempt and no ant."""

import os

import pytest

from formicary.ant.places import Places
from formicary.ant.uids import Uids, default_range
from formicary.ant.workspace import Work
from formicary.runner.core.errors import ERR_ARTIFACT


async def test_a_file_whose_name_is_no_text_is_kept_and_the_result_can_be_stored(colony, an_order):
    script = r"""printf x > "$(printf 'odd\377')" """
    made = await colony.do(an_order("SHELL", script=(script,), artifacts={"paths": ("odd*",)}))
    (kept,) = made.result.artifacts
    assert (kept.kind, kept.name) == ("tar", "odd*")
    made.model_dump_json()
    order = {"inputs": ({"task_type": "a", "artifact": kept},)}
    after = an_order("SHELL", script=("cat odd*",), order=order)
    assert (await colony.do(after)).result.exit_code == 0
    assert colony.desk.raw(after.task_execution_id) == b"x"


async def test_words_about_a_name_that_is_no_text_can_be_stored(colony, an_order):
    deep = r"""odd="$(printf 'odd\377')"; mkdir "$odd"; cd "$odd"; for i in $(seq 160); do mkdir d; cd d; done"""
    report = await colony.do(an_order("SHELL", script=(deep,), artifacts={"paths": ("odd*",)}))
    assert report.result.error_code == ERR_ARTIFACT
    report.model_dump_json()


@pytest.mark.parametrize("closed", ["d", "d/x"])
async def test_what_a_task_has_closed_to_itself_is_its_own_failure(colony, an_order, closed, monkeypatch):
    """Not an attempt that is lost: the script would run again, and to the same end."""
    if os.geteuid() == 0:
        real = os.open

        def refusing(path, flags, *args, **fields):
            if "dir_fd" in fields and path == closed[-1]:
                raise PermissionError(13, "Permission denied")
            return real(path, flags, *args, **fields)

        monkeypatch.setattr(os, "open", refusing)
    order = an_order("SHELL", script=(f"mkdir d; touch d/x; chmod 0 {closed}",), artifacts={"paths": ("d",)})
    report = await colony.do(order)
    assert (report.kind, report.result.error_code) == ("FINISHED", ERR_ARTIFACT)
    assert "chmod" in report.result.error_message


def test_what_dead_ants_have_left_never_stands_in_the_way(tmp_path):
    """In a container every process has the same number."""
    for name in (f".gone-{os.getpid()}-{number}" for number in range(3)):
        (tmp_path / name / "workspace").mkdir(parents=True)
    (tmp_path / "1-1/workspace").mkdir(parents=True)
    work = Work(tmp_path)
    found = work.leftovers()
    assert len(found) == 4 and all(path.stat().st_mode & 0o777 == 0o700 for path in found)
    assert not (tmp_path / "1-1").exists()
    work.close()


async def test_an_ant_that_gets_no_user_number_gives_the_order_back(colony, an_order, monkeypatch):
    async with colony.bus.serve(colony.desk), colony.running() as ant:

        def lend():
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(ant._uids, "lend", lend)
        lost = await colony.desk.finished(colony.desk.give(an_order("SHELL", script=("true",))))
        assert lost.kind == "LOST" and "No space" in lost.message
        monkeypatch.setattr(ant._uids, "lend", Uids(None).lend)
        order = an_order("SHELL", script=("true",))
        assert (await colony.desk.finished(colony.desk.give(order))).result.exit_code == 0


@pytest.mark.skipif(default_range() is None, reason="needs root, to give tasks users of their own")
def test_an_open_file_that_a_task_passed_on_is_not_the_next_tasks(open_folder):
    """T19: the place is used again, what could be held open of it is not."""
    first, last = default_range()
    places = Places(open_folder, 1)
    one = places.take(first)
    places.furnish(one)
    with open(one.output, "r+b", buffering=0) as held:
        assert places.recycle(one)
        other = places.take(last)
        places.furnish(other)
        held.write(b"NAME=evil\n")
        assert other.output.read_bytes() == b"" and other.output.stat().st_uid == last
    places.close()
