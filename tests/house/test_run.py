"""`formicary run`: the working tree as it is, without a server, beside one."""

import subprocess
import sys

import pytest

FORMICARY = [sys.executable, "-m", "formicary.cli.main"]


@pytest.fixture
def run(repo, tmp_path):
    def started(*words, **fields):
        return subprocess.run(
            [*FORMICARY, "run", *words, "--data", str(tmp_path / "data")],
            cwd=repo.path,
            capture_output=True,
            text=True,
            timeout=60,
            **fields,
        )

    return started


def test_uncommitted_changes_run_and_ignored_files_do_not_come(run, repo):
    repo.commit({".formicary/ci.yml": "job_type: ci\nscript: [cat a, ls]\n", "a": "old\n", ".gitignore": "secret\n"})
    repo.write({"a": "new\n", "b": "", "secret": "x"})
    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert "new" in lines and "b" in lines and "secret" not in lines
    assert lines[-1].startswith("ci COMPLETED")


def test_the_working_tree_itself_is_not_touched(run, repo):
    """T20: the workspace is a copy."""
    repo.commit({".formicary/ci.yml": "job_type: ci\nscript: ['echo changed > a; rm -rf .formicary']\n", "a": "1\n"})
    assert run().returncode == 0
    assert (repo.path / "a").read_text() == "1\n"
    assert (repo.path / ".formicary/ci.yml").exists()


def test_failure_is_exit_code_one(run, repo):
    repo.write({".formicary/ci.yml": "job_type: ci\nscript: [exit 7]\n"})
    done = run()
    assert done.returncode == 1
    assert "exit code 7" in done.stdout.splitlines()[-1]


def test_one_task_alone_and_parameters(run, repo):
    repo.write(
        {
            ".formicary/ci.yml": "job_type: ci\nparams: {Who: {default: nobody}}\ntasks:\n"
            "  - {task_type: a, script: [exit 1]}\n"
            "  - {task_type: b, needs: [a], script: ['echo hello {{ Who }}']}\n"
        }
    )
    done = run("ci", "--task", "b", "--param", "Who=ants")
    assert done.returncode == 0, done.stdout
    assert "hello ants" in done.stdout
    assert run("ci").returncode == 1


def test_artifacts_and_cache_pass_from_run_to_run(run, repo):
    repo.write(
        {
            ".formicary/ci.yml": "job_type: ci\ntasks:\n"
            "  - task_type: a\n    script: ['test -e kept/x && echo warm; mkdir -p kept; echo 1 | tee kept/x > out']\n"
            "    cache: {key: k, paths: [kept]}\n    artifacts: {paths: [out]}\n"
            "  - {task_type: b, dependencies: [a], script: [cat out]}\n"
        }
    )
    first, second = run(), run()
    assert (first.returncode, second.returncode) == (0, 0), first.stdout + first.stderr
    assert "warm" not in first.stdout.replace("echo warm", "")
    assert "warm" in second.stdout.replace("echo warm", "")


def test_the_bytes_of_its_artifacts_go_with_its_state(run, repo, tmp_path):
    repo.write({".formicary/ci.yml": "job_type: ci\nscript: ['echo x > out']\nartifacts: {paths: [out]}\n"})
    assert run().returncode == 0
    assert [path for path in (tmp_path / "data/artifacts/objects").rglob("*") if path.is_file()] == []


def test_it_runs_beside_a_server(serve, run, repo, tmp_path):
    repo.commit({".formicary/ci.yml": "job_type: ci\nscript: [echo hello]\n"})
    server = serve(tmp_path, "--repo", repo.path)
    assert run().returncode == 0
    assert server.get("/api/jobs/requests")["records"] == []
    assert list((tmp_path / "data" / "runs").iterdir()) == []


@pytest.mark.parametrize(
    ("files", "words", "said"),
    [
        ({}, [], "there is no .formicary folder"),
        (
            {".formicary/a.yml": "job_type: a\nscript: [x]\n", ".formicary/b.yml": "job_type: b\nscript: [x]\n"},
            [],
            "a|b",
        ),
        ({".formicary/a.yml": "job_type: a\nscript: [x]\n"}, ["z"], "there is a"),
        ({".formicary/a.yml": "job_type: a\nscrpt: [x]\n"}, [], "did you mean `script`?"),
        ({".formicary/a.yml": "job_type: a\nscript: [x]\n"}, ["a", "--task", "t"], "it has a"),
    ],
)
def test_mistakes_get_one_sentence(run, repo, files, words, said):
    repo.write(files)
    done = run(*words)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_what_a_server_s_runs_share_is_free_here(run, repo):
    task = "resources: {resource_type: phone, value: 3, tags: [usb]}"
    text = (
        "job_type: ci\nresources: {resource_type: db, extract_config: {properties: [host], context_prefix: DB}}\n"
        f"tasks: [{{task_type: a, {task}, script: ['echo at=[{{{{ DB_host }}}}]']}}]\n"
    )
    repo.commit({".formicary/ci.yml": text})
    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "at=[]" in done.stdout
    for name in ("db", "phone"):
        assert f"`{name}` is a shared resource of a server; here it is free" in done.stderr
