"""Moves of refs, and what the registered definitions become."""

from hypothesis import given
from hypothesis import strategies as st

from formicary.reconciler.diff import moves, sync_changes
from formicary.runner.core.errors import Problem
from formicary.runner.core.load import load
from formicary.runner.core.records import Definition, Repository, SeenRef, SyncState
from formicary.runner.queen.arriving.sources import CommitDefinitions

REPOSITORY = Repository(id=7, name="r", path="/r")


def seen(ref, commit, generation=1, gone=False):
    return SeenRef(repository_id=7, ref=ref, commit=commit, generation=generation, gone=gone)


def apply(state, refs):
    found = moves(state, refs)
    return {**state, **{move.ref: move.seen(7) for move in found}}, found


def test_new_moved_and_gone():
    state, found = apply({}, {"a": "1"})
    assert [(one.ref, one.before, one.after, one.generation) for one in found] == [("a", "", "1", 1)]
    state, found = apply(state, {"a": "2"})
    assert [(one.before, one.after, one.generation) for one in found] == [("1", "2", 2)]
    state, found = apply(state, {})
    assert [(one.before, one.after) for one in found] == [("2", "")]
    assert apply(state, {})[1] == []


def test_back_to_an_old_commit_is_a_new_generation():
    """A→B→A seen is three; gone and back is a move too."""
    state, _ = apply({}, {"a": "1"})
    state, _ = apply(state, {"a": "2"})
    state, found = apply(state, {"a": "1"})
    assert found[0].generation == 3
    state, _ = apply(state, {})
    _, found = apply(state, {"a": "1"})
    assert (found[0].generation, found[0].before) == (4, "")


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.sampled_from("123")), max_size=12))
def test_looking_twice_finds_nothing_and_generations_only_rise(looks):
    """Level-based: what a second look finds depends on git alone (D5)."""
    state = {}
    for refs in looks:
        before = {ref: one.generation for ref, one in state.items()}
        state, _ = apply(state, refs)
        assert moves(state, refs) == []
        assert {ref for ref, one in state.items() if not one.gone} == set(refs)
        assert all(state[ref].generation >= generation for ref, generation in before.items())


def definition(job_type, path=".formicary/ci.yml", **fields):
    return Definition(id=1, repository_id=7, job_type=job_type, path=path, version_id=3, commit="old", **fields)


def changes(registered, text, path=".formicary/ci.yml", broken=()):
    found = CommitDefinitions(load(text, path=path) if text else (), tuple(broken))
    return {one.definition.job_type: one for one in sync_changes(registered, found, REPOSITORY, "new")}


def test_a_good_definition_is_registered():
    found = changes([], "job_type: ci\nscript: [x]\n")["ci"]
    assert (found.definition.state, found.definition.commit, found.loaded.job_type) == (SyncState.SYNCED, "new", "ci")


def test_an_invalid_one_keeps_the_last_good_version_and_its_commit():
    found = changes([definition("ci")], "job_type: ci\nnope: 1\nscript: [x]\n")["ci"].definition
    assert (found.state, found.version_id, found.commit) == (SyncState.INVALID, 3, "old")
    assert "ci.yml:2:1" in found.problems[0]


def test_a_file_that_tells_no_job_makes_what_it_defined_invalid():
    found = changes([definition("ci")], "job_type: [\n")
    assert found["ci"].definition.state is SyncState.INVALID


def test_an_unreadable_new_file_stands_for_itself_until_it_is_mended():
    path = ".formicary/new.yml"
    found = changes([], "", broken=[Problem(path, 0, 0, "it is too large")])[path].definition
    assert (found.state, found.version_id) == (SyncState.INVALID, None)
    mended = changes([found], "job_type: new\nscript: [x]\n", path)
    assert mended[path].gone
    assert mended["new"].definition.state is SyncState.SYNCED


def test_what_is_deleted_is_orphaned_once():
    found = changes([definition("ci")], "")["ci"].definition
    assert found.state is SyncState.ORPHANED
    assert changes([found], "") == {}


def test_a_wrong_file_takes_nothing_out_of_force():
    """A job that was renamed in a file with an error goes once the file is right."""
    wrong = changes([definition("ci")], "job_type: renamed\nnope: 1\nscript: [x]\n")
    found = wrong["ci"].definition
    assert (found.state, found.version_id, found.commit) == (SyncState.INVALID, 3, "old")
    assert "ci.yml:2:1" in found.problems[0] and wrong["renamed"].definition.state is SyncState.INVALID
    right = changes([found], "job_type: renamed\nscript: [x]\n")
    assert right["ci"].definition.state is SyncState.ORPHANED
    elsewhere = changes([definition("ci", ".formicary/other.yml")], "job_type: [\n")
    assert elsewhere["ci"].definition.state is SyncState.ORPHANED, "its own file is gone"


def test_what_is_orphaned_is_not_brought_back_by_a_wrong_file():
    orphaned = changes([definition("ci")], "")["ci"].definition
    for text in ("job_type: [\n", "job_type: other\nnope: 1\nscript: [x]\n"):
        assert "ci" not in changes([orphaned], text)
