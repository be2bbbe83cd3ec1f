"""What `serve` takes for one repository and what for several, and what it says that it watches."""

import os

CI = "job_type: ci\ntriggers: {commit: {}}\nscript: [echo hello]\n"


def names(server):
    return sorted(one["name"] for one in server.get("/api/repos")["records"])


def test_one_repository_by_many_paths_is_watched_once(serve, repo, tmp_path):
    """Watched twice, every commit would run twice."""
    repo.commit({".formicary/ci.yml": CI})
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(repo.path)
    first = serve(tmp_path, "--repo", repo.path)
    first.ended(1)
    first.stop()
    spellings = (
        repo.path / ".git",
        tmp_path / "elsewhere/../repo",
        tmp_path / "link",
        os.path.relpath(repo.path, tmp_path),
    )
    again = serve(tmp_path, *(word for path in spellings for word in ("--repo", path)))
    assert names(again) == ["repo"]
    again.stop()
    third = serve(tmp_path)
    assert str(repo.path) in third.said()


def test_repositories_whose_folders_have_one_name(serve, make_repo, tmp_path):
    made = [make_repo(f"{number}/a/app") for number in range(4)]
    server = serve(tmp_path, *(word for one in made for word in ("--repo", one.path)))
    assert names(server) == ["a-app", "app", "app-2", "app-3"]


def test_a_detached_head_is_said(serve, repo, tmp_path):
    repo.commit({".formicary/ci.yml": CI})
    repo.git("checkout", "-q", "--detach")
    assert "names no branch" in serve(tmp_path, "--repo", repo.path).said()
