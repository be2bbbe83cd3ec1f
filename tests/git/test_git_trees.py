"""Definitions and changed files are read from trees, whatever the repository holds."""

import zlib
from contextlib import closing
from pathlib import Path

import pytest

from formicary.runner.core.errors import NotFound, RepositoryUnavailable
from formicary.runner.git import trees
from formicary.runner.git.repository import GitRepository


@pytest.fixture
def git(repo):
    with closing(GitRepository.open(repo.path)) as repository:
        yield repository


def entry(repo, content, name, mode=b"100644"):
    return (mode, name, repo.blob(content))


def folder(repo, *entries):
    """The id of a commit whose .formicary holds these entries."""
    return repo.commit_tree(repo.raw_tree((b"40000", b".formicary", repo.raw_tree(*entries))))


# --- definitions


def test_definitions_are_the_yaml_files_of_the_folder_at_that_commit(repo, git):
    old = repo.commit({".formicary/ci.yml": "a: ä\n", ".formicary/deep/er/x.yaml": "b", ".formicary/readme.md": "c"})
    new = repo.commit({".formicary/ci.yml": "a: 2\n", "other.yml": "d", "sub/.formicary/ci.yml": "e"})
    found = git.definitions(old)
    assert {path: blob.text for path, blob in found.items()} == {
        ".formicary/ci.yml": "a: ä\n",
        ".formicary/deep/er/x.yaml": "b",
    }
    blob = found[".formicary/ci.yml"]
    assert (blob.path, blob.size, blob.problem) == (".formicary/ci.yml", 6, None)
    assert blob.sha == repo.git("rev-parse", f"{old}:.formicary/ci.yml")
    assert git.definitions(new)[".formicary/ci.yml"].text == "a: 2\n"
    assert list(git.definitions(new, "sub/.formicary")) == ["sub/.formicary/ci.yml"]
    assert "other.yml" in git.definitions(new, "")


def test_no_folder_no_definitions(repo, git):
    assert git.definitions(repo.commit({"a": "1"})) == {}
    assert git.definitions(repo.commit(), "../..") == {}
    with pytest.raises(NotFound):
        git.definitions("0" * 40)


def test_what_cannot_be_a_definition_says_why(repo, git, tmp_path):
    """T12: symbolic links are not followed, large files not read."""
    (tmp_path / "secret.yml").write_text("token")
    repo.write({".formicary/large.yml": "#" * 2000, ".formicary/bytes.yml": b"\xff\xfe", ".formicary/fine.yml": "x"})
    (repo.path / ".formicary/link.yml").symlink_to(tmp_path / "secret.yml")
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},.formicary/module.yml")
    found = git.definitions(repo.commit(), max_bytes=1000)
    problems = {Path(path).stem: blob.problem for path, blob in found.items() if blob.text is None}
    assert set(problems) == {"large", "bytes", "link"} | ({"module"} & set(problems))
    assert "2000 bytes" in problems["large"]
    assert "UTF-8" in problems["bytes"]
    assert "symbolic link" in problems["link"]
    assert found[".formicary/fine.yml"].text == "x"


def test_a_submodule_is_no_definition(repo, git):
    """T12: submodules are not entered."""
    sha = folder(repo, (b"160000", b"module.yml", "1" * 40), (b"160000", b"other", "1" * 40))
    (blob,) = git.definitions(sha).values()
    assert (blob.text, blob.path) == (None, ".formicary/module.yml")
    assert "submodule" in blob.problem


def test_a_folder_that_is_a_link_is_not_followed(repo, git):
    """T12: symbolic links are not followed."""
    repo.write({"real/ci.yml": "x"})
    (repo.path / ".formicary").symlink_to("real")
    (blob,) = git.definitions(repo.commit()).values()
    assert "symbolic link" in blob.problem


@pytest.mark.parametrize("name", [b"..", b".git", b".GIT", b"a/../b.yml", b"."])
def test_names_that_lead_elsewhere_are_refused(repo, git, name):
    """T12: such trees cannot be made with git, but they can be pushed."""
    sha = folder(repo, (b"40000", name, repo.raw_tree(entry(repo, "x", b"ci.yml"))))
    try:
        found = git.definitions(sha)
    except RepositoryUnavailable:
        return  # dulwich refused to read the tree at all
    assert [blob.text for blob in found.values()] == [None]
    assert all("rename it" in blob.problem for blob in found.values())
    assert git.changed_files(None, sha) == []


def test_a_name_that_is_not_utf8_is_refused_as_a_definition_and_listed_as_changed(repo, git):
    """T12: hostile paths do no harm."""
    sha = folder(repo, entry(repo, "x", b"caf\xe9.yml"))
    (blob,) = git.definitions(sha).values()
    assert (blob.text, blob.path) == (None, ".formicary/caf\N{REPLACEMENT CHARACTER}.yml")
    assert git.changed_files(None, sha) == [blob.path]


def test_more_files_than_allowed_are_cut_and_said(repo, git):
    """T12: caps."""
    found = git.definitions(repo.commit({f".formicary/{i}.yml": "x" for i in range(9)}), max_files=3)
    assert sum(blob.text == "x" for blob in found.values()) == 3
    assert "more than 3" in found[".formicary"].problem


def test_nesting_is_bounded(repo, git):
    """T12: caps."""
    tree = repo.raw_tree(entry(repo, "x", b"ci.yml"))
    for _ in range(trees.MAX_DEPTH):
        tree = repo.raw_tree((b"40000", b"d", tree))
    sha = repo.commit_tree(repo.raw_tree((b"40000", b".formicary", tree)))
    (blob,) = git.definitions(sha).values()
    assert blob.text is None
    assert "nested" in blob.problem
    assert len(git.changed_files(None, sha)) == 1


def test_a_tree_that_unfolds_without_end_is_left(repo, git, monkeypatch):
    """T12: ten names for the same tree on each of ten levels are ten thousand million files."""
    monkeypatch.setattr(trees, "MAX_ENTRIES", 500)
    tree = repo.raw_tree(entry(repo, "x", b"ci.yml"))
    for _ in range(10):
        tree = repo.raw_tree(*((b"40000", b"%d" % i, tree) for i in range(10)))
    sha = repo.commit_tree(repo.raw_tree((b"40000", b".formicary", tree)))
    assert any("more than 500" in (blob.problem or "") for blob in git.definitions(sha).values())
    assert len(git.changed_files(None, sha, limit=10**9)) < 5000


def test_the_base_of_a_delta_counts_too(repo, git):
    """T12: a small file stored as a delta of a huge one needs the huge one in memory."""
    noise = zlib.compress(b"noise") + bytes(range(256)) * 400
    text = noise.hex()
    repo.commit({".formicary/huge.txt": text + "end of it\n"})
    sha = repo.commit({".formicary/huge.txt": "x", ".formicary/part.yml": text[: len(text) // 2]})
    repo.git("repack", "-a", "-d", "-f", "-q", "--depth=50", "--window=50")
    packs = repo.git("verify-pack", "-v", *map(str, (repo.path / ".git/objects/pack").glob("*.idx")))
    small = repo.git("rev-parse", f"{sha}:.formicary/part.yml")
    assert len(next(line for line in packs.splitlines() if line.startswith(small)).split()) == 7, "stored as a delta"
    blob = git.definitions(sha, max_bytes=len(text) - 1000)[".formicary/part.yml"]
    assert blob.text is None
    assert blob.size == len(text) // 2
    assert git.definitions(sha, max_bytes=len(text) + 1000)[".formicary/part.yml"].text == text[: len(text) // 2]


# --- damage


def loose(repo, sha):
    return repo.path / ".git/objects" / sha[:2] / sha[2:]


@pytest.mark.parametrize("damage", [b"", b"nonsense", zlib.compress(b"blob 3\0abcdef"), zlib.compress(b"what 3\0abc")])
@pytest.mark.parametrize("what", ["HEAD", "HEAD^{tree}", "HEAD:.formicary", "HEAD:.formicary/ci.yml"])
def test_damaged_objects_are_a_sentence_and_never_a_traceback(repo, what, damage):
    """T12: corrupt objects."""
    sha = repo.commit({".formicary/ci.yml": "x: 1\n"})
    path = loose(repo, repo.git("rev-parse", what))
    path.chmod(0o644)
    path.write_bytes(damage)
    with closing(GitRepository.open(repo.path)) as git:
        try:
            found = git.definitions(sha)
        except RepositoryUnavailable as error:
            assert str(error).endswith(".")
        except NotFound:
            assert what == "HEAD", "a commit that turned into something else"
        else:
            assert what == "HEAD:.formicary/ci.yml"
            assert found[".formicary/ci.yml"].text is None


@pytest.mark.parametrize("missing", ["HEAD^{tree}", "HEAD:.formicary", "HEAD:.formicary/ci.yml"])
def test_missing_objects_are_named(repo, git, missing):
    """T12: corrupt repositories."""
    sha = repo.commit({".formicary/ci.yml": "x: 1\n"})
    gone = repo.git("rev-parse", missing)
    loose(repo, gone).unlink()
    if missing.endswith("yml"):
        assert "missing" in git.definitions(sha)[".formicary/ci.yml"].problem
    else:
        with pytest.raises(RepositoryUnavailable, match=gone):
            git.definitions(sha)


def test_a_pack_with_broken_bytes(repo):
    """T12: corrupt packs."""
    sha = repo.commit({".formicary/ci.yml": "x: 1\n" * 100})
    repo.git("gc", "-q")
    (pack,) = (repo.path / ".git/objects/pack").glob("*.pack")
    pack.chmod(0o644)
    data = pack.read_bytes()
    refused = 0
    for start in range(0, len(data), 11):
        pack.write_bytes(data[:start] + b"\xff" * 5 + data[start + 5 :])
        try:
            with closing(GitRepository.open(repo.path)) as git:
                assert git.commit(sha).message == "change\n"
                assert git.definitions(sha)[".formicary/ci.yml"].text in ("x: 1\n" * 100, None)
                assert git.changed_files(None, sha) == [".formicary/ci.yml"]
        except (RepositoryUnavailable, NotFound):
            refused += 1
    assert refused > 5


# --- changed files


def test_changed_files_of_a_commit_and_between_two(repo, git):
    root = repo.commit({"keep": "1", "edit": "1", "gone": "1", "dir/a": "1"})
    (repo.path / "gone").unlink()
    (repo.path / "keep").chmod(0o755)
    second = repo.commit({"edit": "2", "dir/b": "1"})
    third = repo.commit({"new": "1"})
    assert git.changed_files(None, root) == ["dir/a", "edit", "gone", "keep"]
    assert git.changed_files(None, second) == ["dir/b", "edit", "gone", "keep"]
    assert git.changed_files(root, third) == ["dir/b", "edit", "gone", "keep", "new"]
    assert git.changed_files("0" * 40, third) == git.changed_files("nonsense", third) == ["new"]
    assert git.changed_files(third, third) == []
    assert git.changed_files(None, root, limit=2) == ["dir/a", "edit"]


def test_a_file_that_becomes_a_folder_is_all_of_it(repo, git):
    before = repo.commit({"x": "1"})
    (repo.path / "x").unlink()
    after = repo.commit({"x/y": "1"})
    assert git.changed_files(before, after) == ["x", "x/y"] == git.changed_files(after, before)


def test_a_merge_is_compared_with_its_first_parent(repo, git):
    repo.commit({"a": "1"})
    repo.git("checkout", "-q", "-b", "side")
    side = repo.commit({"b": "1"})
    repo.git("checkout", "-q", "main")
    repo.commit({"c": "1"})
    repo.git("merge", "-q", "--no-ff", "-m", "merge", "side")
    assert git.changed_files(None, repo.head()) == ["b"]
    assert git.changed_files(side, repo.head()) == ["c"]


def test_changed_files_agree_with_git(repo, git):
    first = repo.commit({f"d{i % 7}/f{i}": str(i) for i in range(60)})
    repo.git("rm", "-q", "-r", "d3")
    second = repo.commit({f"d{i % 5}/f{i * 2}": "new" for i in range(20)})
    repo.git("repack", "-q", "-a", "-d")
    names = repo.git("diff-tree", "-r", "--name-only", "--no-renames", first, second).splitlines()
    assert git.changed_files(first, second) == names
