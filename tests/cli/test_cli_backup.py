"""`formicary backup` and `formicary restore` on a folder that nothing serves: what they say, what they keep."""

import json

import pytest

from formicary.runner.store.sqlite import open_store


@pytest.fixture
def data(tmp_path):
    open_store(tmp_path / "data").close()
    return tmp_path / "data"


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "backups"
    made.mkdir()
    return made


def test_it_says_what_is_not_inside_and_what_that_means(formicary, data, folder):
    """T19: said aloud."""
    said = formicary("backup", "--data", data, "--to", folder)
    assert said.code == 0
    assert f"keep a copy of {data}/master.key elsewhere" in said.out
    for word in ("0 requests", "0 logs", "without caches", "admin.token", "hook install", "formicary.toml"):
        assert word in said.out


def test_artifacts_in_a_bucket_stay_there_and_that_is_said(formicary, data, folder, monkeypatch):
    monkeypatch.setenv("FORMICARY_ARTIFACTS", "s3://bucket/ci?endpoint=127.0.0.1:1&secure=false")
    said = json.loads(formicary("backup", "--data", data, "--to", folder, "--caches", "--json").out)
    assert said["parts"] == ["logs"]
    assert "in the bucket" in said["not_inside"]["artifacts"]


def test_the_master_key_is_named_by_its_place(formicary, data, folder, monkeypatch):
    monkeypatch.setenv("FORMICARY_MASTER_KEY_FILE", "/run/secrets/formicary")
    assert "keep a copy of /run/secrets/formicary elsewhere" in formicary("backup", "--data", data, "--to", folder).out


def test_the_newest_are_kept(formicary, data, folder):
    """What has another name is nobody's backup, and stays."""
    old = [folder / f"formicary-2026010{day}T000000Z.tar.gz" for day in range(1, 6)]
    other = [folder / "formicary-notes.txt", folder / "formicary-20260101T000000Z.tar.gz.asc"]
    for path in (*old, *other):
        path.touch()
    said = json.loads(formicary("backup", "--data", data, "--to", folder, "--keep", 3, "--json").out)
    assert said["deleted"] == [str(path) for path in old[:3]]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*(path.name for path in (*old[3:], *other)), said["file"].rpartition("/")[2]]
    )


def test_nothing_is_deleted_where_there_is_no_new_one(formicary, data, folder, tmp_path):
    old = folder / "formicary-20260101T000000Z.tar.gz"
    old.touch()
    assert formicary("backup", "--data", tmp_path / "none", "--to", folder, "--keep", 1).code == 1
    assert old.exists()


def test_a_backup_lies_in_the_current_folder_by_default(formicary, data, folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert formicary("backup", "--data", data, "--no-logs", "--no-artifacts").code == 0
    (made,) = folder.iterdir()
    said = formicary("restore", made, "--verify")
    assert said.out.startswith("OK ")
    assert "without logs and artifacts and caches" in said.out


def test_both_as_json(formicary, data, folder, tmp_path):
    made = json.loads(formicary("backup", "--data", data, "--to", folder / "b.tar.gz", "--json").out)
    assert made["parts"] == ["logs", "artifacts"]
    assert made["size"] == (folder / "b.tar.gz").stat().st_size
    found = json.loads(formicary("restore", made["file"], "--verify", "--json").out)
    assert (found["restored_to"], found["schema_version"]) == (None, made["schema_version"])
    found = json.loads(formicary("restore", made["file"], "--data", tmp_path / "new", "--json").out)
    assert found["restored_to"] == str(tmp_path / "new")
    assert formicary("doctor", "--data", tmp_path / "new").out.count("✓") > 5


def test_a_file_that_is_no_backup(formicary, tmp_path):
    (tmp_path / "x").write_text("x")
    said = formicary("restore", tmp_path / "x", "--verify")
    assert (said.code, said.out) == (1, "")
    assert "does not begin as a backup" in said.err


def test_where_no_bucket_is_set_it_says_that_artifacts_may_lie_in_one(formicary, kept, folder):
    """Run elsewhere than beside the server's formicary.toml, it cannot know of the bucket."""
    kept.objects.delete(kept.digest.sha256)
    said = formicary("backup", "--data", kept.data, "--to", folder)
    assert "not there or damaged" in said.err
    assert "If the server keeps artifacts in a bucket, nothing is lost" in said.err
