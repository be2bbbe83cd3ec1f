"""`formicary serve --public --site …`: what a public repository ran is read in a bucket, or on a branch."""

import subprocess

import pytest
from buckets import ACCESS, SECRET
from remotes import TOKEN
from servers import FORMICARY, environment

CI = "job_type: ci\ntriggers: {commit: {}}\nscript: ['echo shown']\n"
KEYS = {"FORMICARY_S3_ACCESS_KEY": ACCESS, "FORMICARY_S3_SECRET_KEY": SECRET}


def on_disk(server):
    folder = server.data / "site"
    return {one.relative_to(folder).as_posix(): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def git(path, *words):
    done = subprocess.run(["git", "--git-dir", path, *words], capture_output=True)
    return done.stdout if done.returncode == 0 else b""


def on_branch(path, branch):
    names = git(path, "ls-tree", "-r", "-z", "--name-only", branch).decode().split("\0")[:-1]
    return {name: git(path, "show", f"{branch}:{name}") for name in names if name != ".nojekyll"}


def shown(server, pages):
    """Wait until the pages elsewhere are those of the folder, the ended request's among them."""

    def same():
        found = pages()
        return found if found.get("requests/1/index.html") and found == on_disk(server) else None

    return server.wait(same)


def test_in_a_bucket(serve, repo, tmp_path, s3):
    """With artifacts beside it, under another prefix."""
    bucket = s3.bucket()
    repo.commit({".formicary/ci.yml": CI})
    words = ["--public", "--site", s3.address(bucket, "www"), "--artifacts", s3.address(bucket, "kept")]
    server = serve(tmp_path, "--repo", repo.path, *words, **KEYS)
    server.ended()

    def pages():
        found = s3.contents(bucket)
        return {key.removeprefix("www/"): data for key, data in found.items() if key.startswith("www/")}

    found = shown(server, pages)
    assert any(path.startswith("logs/") and b"shown" in data for path, data in found.items())
    assert server.stop() == 0


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_on_a_branch(serve, repo, tmp_path, scheme, request):
    """One commit a batch, beside what is there; the token is a setting, and shown nowhere."""
    bare = tmp_path / "pages.git"
    subprocess.run(["git", "init", "-q", "--bare", bare], check=True)
    git(bare, "config", "http.receivepack", "true")
    address, token = bare.as_uri(), {}
    if scheme == "http":
        site = request.getfixturevalue("http_site")
        site.token = TOKEN
        address, token = site.url(bare), {"FORMICARY_SITE_TOKEN": TOKEN}
    repo.commit({".formicary/ci.yml": CI})
    server = serve(tmp_path, "--repo", repo.path, "--public", "--site", f"{address}#pages", **token)
    server.ended()
    shown(server, lambda: on_branch(bare, "pages"))
    assert 1 <= len(git(bare, "log", "--format=%h", "pages").split()) <= 3
    assert TOKEN not in server.said() and server.stop() == 0
    assert b".nojekyll" in git(bare, "ls-tree", "--name-only", "pages")


def test_a_private_repository_is_not_shown(serve, repo, tmp_path, s3):
    """Nothing is published unless the operator said so."""
    bucket = s3.bucket()
    repo.commit({".formicary/ci.yml": CI})
    server = serve(tmp_path, "--repo", repo.path, "--site", s3.address(bucket, "www"), **KEYS)
    server.ended()
    found = server.wait(lambda: s3.contents(bucket))
    assert server.stop() == 0
    assert not [key for key in s3.contents(bucket) if "requests" in key or "repos" in key or "logs" in key]
    assert found


@pytest.mark.parametrize(
    ("site", "artifacts", "why"),
    [
        ("s3://bucket/www?x=1", "", "`x` is not known"),
        ("s3://bucket/a?endpoint=h:1", "s3://bucket/a/b?endpoint=h:1", "a prefix of its own"),
        ("https://me:sesame@example.org/me/app.git", "", "Take it out"),
        ("https://example.org/me/app.git#a..b", "", "no name of a branch"),
    ],
)
def test_a_wrong_place_is_refused(tmp_path, site, artifacts, why):
    """Before anything starts, with what to write, and without repeating a password."""
    words = [*FORMICARY, "serve", "--data", str(tmp_path / "data"), "--port", "0", "--site", site]
    words += ["--artifacts", artifacts] if artifacts else []
    done = subprocess.run(words, env=environment(**KEYS), capture_output=True, text=True, timeout=60)
    assert done.returncode and why in done.stderr and "sesame" not in done.stderr


def test_what_is_private_again_is_withdrawn(serve, repo, tmp_path):
    """At once by the API, and by the next start, whose settings come after the first look at the store."""
    repo.commit({".formicary/ci.yml": CI})
    folder = tmp_path / "site"
    words = ["--repo", repo.path, "--site", folder]
    page = folder / "requests/1/index.html"
    server = serve(tmp_path, *words, "--public")
    server.ended()
    server.wait(page.exists)
    (known,) = server.get("/api/repos")["records"]
    server.call(f"/api/repos/{known['id']}", "PUT", {"visibility": "private"})
    server.wait(lambda: not page.exists())
    assert server.stop() == 0
    again = serve(tmp_path, *words, "--public")
    again.wait(page.exists)
    assert again.stop() == 0
    last = serve(tmp_path, *words)
    last.wait(lambda: not page.exists())
    assert last.stop() == 0
