"""GitRepository: opening, refs, commits, history."""

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from costs import within

from formicary.runner.core.errors import NotFound, NotSupported, RepositoryUnavailable, SetupError
from formicary.runner.git.repository import GitRepository

# --- opening


def test_an_empty_repository_has_no_refs_and_an_unborn_branch(repo, opened):
    git = opened(repo.path)
    assert (git.refs(), git.head_ref(), git.bare, git.path) == ({}, "refs/heads/main", False, repo.path)


def test_a_detached_head_names_no_branch(repo, opened):
    repo.commit()
    repo.git("checkout", "-q", "--detach")
    assert opened(repo.path).head_ref() is None


def test_bare_worktree_and_dot_git_see_the_same_refs(repo, opened, tmp_path):
    sha = repo.commit({"a": "1"})
    bare = repo.bare(tmp_path / "bare.git")
    repo.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    assert opened(bare).refs() == {"refs/heads/main": sha}
    assert opened(bare).bare
    side = opened(tmp_path / "side")
    assert (side.head_ref(), side.bare) == ("refs/heads/side", False)
    assert side.refs() == {"refs/heads/main": sha, "refs/heads/side": sha} == opened(repo.path / ".git").refs()
    assert side.commit(sha).sha == sha


def test_what_is_no_repository_says_git_init(tmp_path, repo):
    (tmp_path / "plain").mkdir()
    with pytest.raises(SetupError, match="git init"):
        GitRepository.open(tmp_path / "plain")


def test_a_folder_inside_names_the_root(repo):
    repo.commit({"deep/a": "1"})
    with pytest.raises(SetupError, match=f"inside the git repository {repo.path}"):
        GitRepository.open(repo.path / "deep")


def test_a_file_is_no_repository(repo):
    repo.commit({"a": "1"})
    with pytest.raises(SetupError, match="is a file"):
        GitRepository.open(repo.path / "a")


def test_gone_before_or_after_opening_is_the_worlds_error(repo, opened, tmp_path):
    with pytest.raises(RepositoryUnavailable, match="does not exist now"):
        GitRepository.open(tmp_path / "never")
    sha = repo.commit()
    git = opened(repo.path)
    shutil.rmtree(repo.path)
    for call in (git.refs, git.head_ref, git.fingerprint, lambda: git.commit(sha)):
        with pytest.raises(RepositoryUnavailable):
            call()


def test_a_worktree_whose_repository_is_gone(repo, tmp_path):
    repo.commit()
    repo.git("worktree", "add", "-q", str(tmp_path / "side"))
    shutil.rmtree(repo.path)
    with pytest.raises(RepositoryUnavailable):
        GitRepository.open(tmp_path / "side")


def test_an_extension_that_is_not_understood_is_an_honest_no(repo):
    repo.git("config", "core.repositoryformatversion", "1")
    repo.git("config", "extensions.fromTheFuture", "true")
    with pytest.raises(NotSupported, match=r"(?i)fromthefuture"):
        GitRepository.open(repo.path)


def test_a_broken_configuration_is_the_worlds_error(repo):
    (repo.path / ".git/config").write_bytes(b"[core\nnonsense = \xff")
    with pytest.raises(RepositoryUnavailable):
        GitRepository.open(repo.path)


def test_sha256_repositories_are_read(make_repo, opened):
    repo = make_repo("long", "--object-format=sha256")
    first = repo.commit({".formicary/ci.yml": "job_type: ci\n"})
    second = repo.commit({"a": "1"})
    repo.tag("v1", annotated=True)
    repo.git("gc", "-q")
    git = opened(repo.path)
    assert len(first) == 64
    assert git.refs() == {"refs/heads/main": second, "refs/tags/v1": second}
    assert git.definitions(second)[".formicary/ci.yml"].text == "job_type: ci\n"
    assert git.changed_files(first, second) == ["a"]


# --- refs


def test_refs_loose_packed_and_both(repo, opened):
    old = repo.commit()
    repo.branch("stays")
    repo.branch("moves")
    repo.git("pack-refs", "--all")
    new = repo.commit()
    repo.branch("moves", new)
    repo.git("update-ref", "refs/notes/x", new)
    refs = opened(repo.path).refs()
    assert refs == {"refs/heads/main": new, "refs/heads/moves": new, "refs/heads/stays": old}


@pytest.mark.parametrize("packed", [False, True])
def test_tags_are_peeled_and_tags_of_trees_and_blobs_left_out(repo, opened, packed):
    sha = repo.commit({"a": "1"})
    repo.tag("light")
    repo.tag("annotated", annotated=True)
    repo.tag("nested", "annotated", annotated=True)
    repo.tag("tree", "HEAD^{tree}")
    repo.tag("noted-tree", "HEAD^{tree}", annotated=True)
    repo.tag("blob", "HEAD:a")
    if packed:
        repo.git("gc", "-q")
    git = opened(repo.path)
    expected = {f"refs/tags/{name}": sha for name in ("light", "annotated", "nested")}
    assert git.refs() == {"refs/heads/main": sha, **expected} == git.refs()


def test_a_moved_tag_is_peeled_anew(repo, opened):
    repo.commit()
    repo.tag("v1", annotated=True)
    git = opened(repo.path)
    git.refs()
    new = repo.commit()
    repo.git("tag", "-f", "-a", "-m", "again", "v1")
    assert git.refs()["refs/tags/v1"] == new


def test_broken_refs_are_left_out_and_harm_no_other(repo, opened):
    """D8: one malformed item is handled on its own."""
    sha = repo.commit()
    heads = repo.path / ".git/refs/heads"
    (heads / "empty").write_bytes(b"")
    (heads / "junk").write_bytes(b"\xff\xfe nonsense\n")
    (heads / "loop").write_text("ref: refs/heads/loop\n")
    (heads / "alias").write_text("ref: refs/heads/main\n")
    (heads / "half.lock").write_text(sha)
    (heads / "link").symlink_to("/etc/hostname")
    (repo.path / ".git/refs/tags/nowhere").write_text("1" * 40 + "\n")
    assert opened(repo.path).refs() == {"refs/heads/main": sha, "refs/heads/alias": sha}


def test_a_branch_name_that_is_not_utf8_is_still_text(repo, opened):
    sha = repo.commit()
    path = os.fsencode(repo.path) + b"/.git/refs/heads/caf\xe9"
    with open(path, "w") as file:
        file.write(sha)
    assert opened(repo.path).refs()["refs/heads/caf\N{REPLACEMENT CHARACTER}"] == sha


def test_5000_packed_branches_are_read_in_one_quick_pass(repo, opened):
    """D5: the poll lists all refs; the bound is far above what it takes, so that a busy machine passes."""
    sha = repo.commit()
    lines = "".join(f"{sha} refs/heads/b{i}\n" for i in range(5000))
    (repo.path / ".git/packed-refs").write_text(f"# pack-refs with: peeled fully-peeled sorted \n{lines}")
    git = opened(repo.path)
    assert len(within(0.3, git.refs)) == 5001


# --- commits and history


def test_a_commit_as_written(repo, opened):
    first = repo.commit({"a": "1"}, "first")
    second = repo.commit({"a": "2"}, "second line\n\nbody")
    commit = opened(repo.path).commit(second)
    assert (commit.sha, commit.parents, commit.tree) == (second, (first,), repo.git("rev-parse", "HEAD^{tree}"))
    assert (commit.author, commit.author_email, commit.message) == ("Ada", "ada@example.org", "second line\n\nbody\n")
    assert commit.time == 1_700_000_120


def test_text_that_is_not_utf8_becomes_text_that_anything_can_store(repo, opened):
    """T12: hostile commits do no harm."""
    tree = repo.raw_tree()
    raw = b"tree %s\nauthor J\xf6rg\0 <j\xf6@x> 1 +0000\ncommitter C <c> 99999999999999999999 +0000\n" % tree.encode()
    git = opened(repo.path)
    commit = git.commit(repo.raw_commit(raw + b"\n\xff\xfe\0message"))
    for text in (commit.author, commit.author_email, commit.message):
        text.encode("utf-8")
        assert "\0" not in text
    assert commit.time == 0
    latin = git.commit(repo.raw_commit(raw.replace(b"\0", b"") + b"encoding ISO-8859-1\n\ngr\xfc\xdfe"))
    assert (latin.author, latin.message) == ("Jörg", "grüße")
    odd = git.commit(repo.raw_commit(raw + b"encoding no-such\n\nplain"))
    assert odd.message == "plain"


def test_a_commit_without_anything_is_no_traceback(repo, opened):
    """T12: hostile commits do no harm."""
    sha = repo.raw_commit(b"")
    git = opened(repo.path)
    for call in (git.commit, git.definitions, lambda sha: git.changed_files(None, sha)):
        with pytest.raises(RepositoryUnavailable):
            call(sha)


def test_what_is_not_a_commit_here_is_not_found(repo, opened):
    sha = repo.commit({"a": "1"})
    git = opened(repo.path)
    blob = repo.git("rev-parse", "HEAD:a")
    for name in ("0" * 40, blob, sha[:8], "main", "", "../../etc/passwd", sha.upper() + "x"):
        assert not git.contains(name)
        with pytest.raises(NotFound):
            git.commit(name)
    assert git.contains(sha)


def test_new_commits_and_packs_are_seen_without_opening_again(repo, opened):
    repo.commit()
    git = opened(repo.path)
    git.refs()
    shas = [repo.commit({"a": str(i)}) for i in range(3)]
    repo.git("gc", "-q", "--prune=now")
    assert all(git.contains(sha) for sha in shas)
    repo.commit()
    repo.git("repack", "-q", "-a", "-d")
    assert [commit.sha for commit in git.commits_between(shas[0], shas[2])] == shas[1:]


def test_is_ancestor(repo, opened):
    base = repo.commit({"a": "1"})
    repo.git("checkout", "-q", "-b", "side")
    side = repo.commit({"b": "1"})
    repo.git("checkout", "-q", "main")
    main = repo.commit({"c": "1"})
    repo.minutes += 1
    repo.git("merge", "-q", "--no-ff", "-m", "merge", "side")
    merged = repo.head()
    git = opened(repo.path)
    pairs = [(base, side), (base, merged), (side, merged), (main, main), (main, merged)]
    assert all(git.is_ancestor(a, b) for a, b in pairs)
    assert not any(git.is_ancestor(a, b) for a, b in [(side, main), (merged, main), ("0" * 40, main), (main, "x")])
    assert not git.is_ancestor(base, merged, limit=1)


def test_a_force_push_is_no_descent_and_only_the_new_line_is_between(repo, opened):
    base, old = repo.commit({"a": "1"}), repo.commit({"a": "2"})
    repo.git("reset", "-q", "--hard", base)
    new = [repo.commit({"a": "3"}), repo.commit({"a": "4"})]
    git = opened(repo.path)
    assert git.refs()["refs/heads/main"] == new[1]
    assert not git.is_ancestor(old, new[1])
    assert [commit.sha for commit in git.commits_between(old, new[1])] == new
    assert git.commits_between(new[1], base) == []


def test_commits_between_follows_first_parents_oldest_first_and_keeps_the_newest(repo, opened):
    base = repo.commit({"a": "0"})
    repo.git("checkout", "-q", "-b", "side")
    repo.commit({"b": "1"})
    repo.git("checkout", "-q", "main")
    line = [repo.commit({"a": "1"})]
    repo.minutes += 1
    repo.git("merge", "-q", "--no-ff", "-m", "merge", "side")
    line += [repo.head(), repo.commit({"a": "2"})]
    git = opened(repo.path)

    def between(before, **kwargs):
        return [commit.sha for commit in git.commits_between(before, line[-1], **kwargs)]

    assert between(base) == line
    assert between(base, limit=2) == line[1:]
    assert between(line[-1]) == []
    assert between(None) == between("0" * 40) == line[-1:]


def test_a_shallow_repository_ends_where_it_ends(repo, opened, tmp_path):
    for i in range(5):
        repo.commit({"a": str(i)})
    subprocess.run(
        ["git", "clone", "-q", "--depth", "2", repo.path.as_uri(), str(tmp_path / "short")],
        check=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )
    with closing(GitRepository.open(tmp_path / "short")) as git:
        head = git.refs()["refs/heads/main"]
        (parent,) = git.commit(head).parents
        assert git.changed_files(None, parent) == ["a"]
        assert not git.is_ancestor("0" * 40, head)
        assert git.is_ancestor(parent, head)
        assert [commit.sha for commit in git.commits_between(parent, head)] == [head]


def test_objects_in_alternates_are_found(repo, opened, tmp_path):
    sha = repo.commit({"a": "1"})
    repo.git("clone", "-q", "--shared", str(repo.path), str(tmp_path / "shared"))
    git = opened(tmp_path / "shared")
    assert git.contains(sha)
    assert git.changed_files(None, sha) == ["a"]


def test_many_threads_may_read_at_once(repo, opened):
    """The callers run these blocking calls in threads, while others commit and repack."""
    shas = [repo.commit({".formicary/ci.yml": f"n: {i}\n"}) for i in range(8)]
    git = opened(repo.path)

    def read(number):
        sha = shas[number % 8]
        git.refs()
        return git.definitions(sha)[".formicary/ci.yml"].text == f"n: {number % 8}\n"

    with ThreadPoolExecutor(8) as pool:
        reading = [pool.submit(read, number) for number in range(200)]
        repo.git("repack", "-a", "-d", "-q")
        assert all(future.result() for future in reading)
