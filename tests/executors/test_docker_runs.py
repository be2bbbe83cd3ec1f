"""Scripts in real containers: what they see, how they end, and what of it is passed on."""

import time

import anyio
import pytest

from formicary.executors import docker_spec as spec
from formicary.runner.core.containing import Amount
from formicary.runner.core.definition import Artifacts
from formicary.runner.core.errors import ERR_DEFINITION, ERR_EXIT_CODE, ERR_OUT_OF_MEMORY

MODES = ("mount", "copy")
OF_ENGINE_AND_SHELL = {"HOME", "HOSTNAME", "PATH", "PWD", "OLDPWD", "SHLVL", "_"}


async def test_exit_codes_are_exact(docker, contain, sink):
    async with docker().open(contain()) as session:
        for code in (0, 1, 2, 42, 126, 127, 130, 143, 255):
            outcome = await session.run([f"exit {code}"], sink)
            assert (outcome.exit_code, outcome.error_code) == (code, ERR_EXIT_CODE if code else "")


async def test_the_environment_is_complete_and_clean(boxed, sink):
    """The task sees what it was given and what its image says, and nothing of ours."""
    await boxed("env", environment={"GREETING": "two words", "LINES": "a\nb"})
    seen = dict(line.split("=", 1) for line in sink.output.decode().splitlines() if "=" in line)
    assert seen["GREETING"] == "two words" and seen["LINES"] == "a"
    assert seen["FORMICARY_OUTPUT"] == "/formicary/output"
    assert seen.keys() - OF_ENGINE_AND_SHELL == {"GREETING", "LINES", "FORMICARY_OUTPUT", "TOKEN"}


async def test_values_too_long_for_the_environment_are_files_inside(boxed, contain, docker, sink):
    prepared = contain()
    (prepared.run_dir / "env_Long").write_text("x" * 200_000)
    prepared.environment["Long"] = str(prepared.run_dir / "env_Long")
    async with docker().open(prepared) as session:
        assert (await session.run(["wc -c <$Long"], sink)).ok
    assert sink.output.strip() == b"200000"


@pytest.mark.parametrize(
    ("mode", "folder"),
    [("mount", ""), ("mount", "sub"), ("mount", "/src/deep/er"), ("copy", ""), ("copy", "/src/deep/er"), ("copy", "/")],
)
async def test_the_workspace_is_at_the_working_dir_and_comes_back(mode, folder, contain, docker, sink):
    prepared = contain(working_dir=folder, artifacts=Artifacts(paths=("made/*.txt", "gone")))
    for where in (prepared.workspace, prepared.workspace / "sub"):
        where.mkdir(exist_ok=True)
        (where / "there").write_text("here\n")
    async with docker(mode).open(prepared) as session:
        script = "cat there; pwd; mkdir -p made; echo 1 >made/a.txt; ln -s /etc made/link; chmod 700 made/a.txt"
        assert (await session.run([script], sink)).ok
    assert (
        sink.output == f"here\n{folder if folder[:1] == '/' else '/workspace/sub'[: None if folder else 10]}\n".encode()
    )
    made = prepared.workspace / (folder if folder == "sub" else "") / "made/a.txt"
    assert made.read_text() == "1\n" and made.stat().st_mode & 0o100
    if mode == "copy" or folder == "/":
        assert not (made.parent / "link").is_symlink()


async def test_a_pattern_at_the_root_finds_what_the_task_made(contain, docker, sink):
    """In `/` of a container only what differs from its image is looked at."""
    prepared = contain(working_dir="/", artifacts=Artifacts(paths=("*.txt",)))
    async with docker().open(prepared) as session:
        assert (
            await session.run(["echo 1 >out.txt; mkdir -p new/deep; echo 2 >new/deep/x; echo 3 >/etc/group"], sink)
        ).ok
    there = {str(path.relative_to(prepared.workspace)) for path in prepared.workspace.rglob("*") if path.is_file()}
    assert there == {"out.txt", "new/deep/x", "etc/group"}


async def test_a_folder_that_is_not_there_is_the_definitions_fault(boxed):
    outcome = await boxed("true", working_dir="nowhere")
    assert outcome.error_code == ERR_DEFINITION and "'nowhere' cannot be entered" in outcome.error_message


@pytest.mark.parametrize("mode", MODES)
async def test_it_runs_as_the_images_user_unless_one_is_set(mode, engine, contain, docker, sink):
    image = engine.made("USER app")
    mine = {"mount": (("", b"1234:1234"), ("77:88", b"77:88")), "copy": (("0", b"0:0"), ("app:staff", b"1234:50"))}
    for user, said in mine[mode]:
        prepared = contain(image=image, container={"user": user})
        (prepared.workspace / "mine").write_text("")
        async with docker(mode).open(prepared) as session:
            assert (await session.run(["echo $(id -u):$(id -g) $(stat -c %u mine .); touch new; rm mine"], sink)).ok
        ids, *owners = sink.output.split()
        assert ids == said and set(owners) == {said.partition(b":")[0]}
        sink.records.clear()


async def test_nothing_gives_it_more_privileges(boxed, sink):
    await boxed("grep NoNewPrivs /proc/self/status")
    assert sink.output.split() == [b"NoNewPrivs:", b"1"]


async def test_both_streams_are_one_in_order(boxed, sink):
    await boxed("i=0; while [ $i -lt 2000 ]; do echo $i; echo $i >&2; i=$((i+1)); done")
    assert sink.output.split() == [str(number // 2).encode() for number in range(4000)]


async def test_a_large_output_arrives_whole_and_soon(boxed, sink):
    started = time.monotonic()
    await boxed("head -c 100000000 /dev/zero; echo end")
    assert len(sink.output) == 100_000_004 and sink.output.endswith(b"end\n")
    assert time.monotonic() - started < 10


async def test_items_are_checked_one_by_one_in_one_shell(boxed, sink):
    outcome = await boxed("cd /tmp; export A=1", "pwd; echo $A", "false", "echo never")
    assert outcome.exit_code == 1
    assert sink.merged()[-3:] == [("cmd", "pwd; echo $A"), ("out", b"/tmp\n1\n"), ("cmd", "false")]


async def test_fresh_shells_keep_nothing_but_what_env_says(boxed, sink):
    assert (await boxed("cd /tmp; X=1", "env Y=2", "pwd; echo $X$Y", fresh_shell=True)).ok
    assert sink.output == b"/workspace\n2\n"


@pytest.mark.parametrize("mode", MODES)
async def test_what_comes_between_before_script_and_script_is_there(mode, contain, docker, sink):
    """The order of the Go original: artifacts of dependencies come after before_script."""
    prepared = contain(fresh_shell=True)
    async with docker(mode).open(prepared) as session:
        assert (await session.run(["echo 1 >first"], sink, name="before_script")).ok
        assert (prepared.workspace / "first").read_text() == "1\n"
        (prepared.workspace / "second").write_text("2\n")
        assert (await session.run(["cat first second"], sink)).ok
    assert sink.output == b"1\n2\n"


async def test_another_shell_and_one_that_is_missing(engine, boxed, sink):
    assert (await boxed("BEGIN { print 6 * 7 }", shell=("awk", "-f"))).ok
    assert sink.output == b"42\n"
    outcome = await boxed("true", shell=("bash",))
    assert (outcome.exit_code, outcome.error_code) == (127, ERR_EXIT_CODE)
    assert "The shell 'bash' was not found" in outcome.error_message


async def test_an_entrypoint_runs_before_the_script(engine, boxed, sink):
    script = '#!/bin/sh\\necho entering\\nexport FROM=entrypoint\\nexec "$@"\\n'
    image = engine.made(f"RUN printf '{script}' >/enter && chmod 755 /enter", 'ENTRYPOINT ["/enter"]')
    assert (await boxed("echo $FROM", image=image)).ok
    assert sink.output == b"entering\nentrypoint\n"
    sink.records.clear()
    assert (await boxed("echo $FROM", image=image, container={"entrypoint": ()})).ok
    assert sink.output == b"\n"


async def test_an_entrypoint_that_runs_no_command_is_told(engine, boxed):
    outcome = await boxed("true", image=engine.made('ENTRYPOINT ["/bin/ls"]'))
    assert outcome.error_code == ERR_DEFINITION
    assert "its entrypoint (/bin/ls) does not run the command" in outcome.error_message


async def test_without_a_script_the_container_runs_its_own_command(engine, boxed, sink):
    image = engine.made('ENTRYPOINT ["/bin/echo", "image"]', 'CMD ["says"]')
    assert (await boxed(image=image)).ok
    assert (await boxed(image=image, container={"command": ("hears",)})).ok
    assert (await boxed(container={"entrypoint": ("sh", "-c"), "command": ("echo $0 >&2; exit 3", "x")})).exit_code == 3
    assert sink.output == b"image says\nimage hears\nx\n"


async def test_its_after_script_has_a_container_of_its_own(contain, docker, sink):
    prepared = contain(container={"command": ("sh", "-c", "echo 1 >left; echo k=v >$FORMICARY_OUTPUT")})
    async with docker().open(prepared) as session:
        assert (await session.run([], sink)).ok
        assert (await session.run(["cat left $FORMICARY_OUTPUT"], sink, name="after_script")).ok
    assert sink.output == b"1\nk=v\n"
    assert (prepared.run_dir / "output").read_text() == "k=v\n"


async def test_limits_are_the_engines(engine, contain, docker, sink):
    amounts = {
        "cpu_limit": Amount(written="500m", number=500),
        "cpu_request": Amount(written="250m", number=250),
        "memory_limit": Amount(written="64Mi", number=64 << 20),
        "memory_request": Amount(written="32Mi", number=32 << 20),
    }
    async with docker().open(contain(container=amounts)) as session:
        assert (await session.run(["true"], sink)).ok
        [name] = engine.named(f"formicary.execution={contain().task_execution_id}")
        host = engine.client.inspect_container(name)["HostConfig"]
    assert (host["NanoCpus"], host["CpuShares"]) == (500_000_000, 256)
    assert (host["Memory"], host["MemorySwap"], host["MemoryReservation"]) == (64 << 20, 64 << 20, 32 << 20)


async def test_out_of_memory_is_told_apart(boxed):
    limit = {"memory_limit": Amount(written="32Mi", number=32 << 20)}
    outcome = await boxed("head -c 200000000 /dev/zero | tail >/dev/null", container=limit)
    assert outcome.error_code == ERR_OUT_OF_MEMORY and "memory_limit of 32Mi" in outcome.error_message
    outcome = await boxed("exit 137", container=limit)
    assert (outcome.exit_code, outcome.error_code) == (137, ERR_EXIT_CODE)
    own = {**limit, "command": ("sh", "-c", "exec tail /dev/zero")}
    assert (await boxed(container=own)).error_code == ERR_OUT_OF_MEMORY


async def test_usage_tells_time_and_memory(boxed):
    outcome = await boxed("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; head -c 1000000 /dev/zero >/dev/null")
    assert outcome.usage["user_seconds"] > 0.01 and outcome.usage["max_rss_bytes"] > 100_000


@pytest.mark.soak
async def test_twenty_at_once(docker, contain, tmp_path, sink):
    executor = docker(hands=20)
    outcomes = []

    async def one(number):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        async with executor.open(contain(base=folder)) as session:
            outcomes.append(await session.run([f"echo {number}; exit {number}"], sink))

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(one, number)
    assert sorted(outcome.exit_code for outcome in outcomes) == [*range(20)]


@pytest.mark.parametrize("there", [False, True], ids=["no such folder", "another one"])
async def test_an_engine_that_sees_other_folders_is_noticed(there, contain, docker, sink, monkeypatch, tmp_path):
    """An ant in a container has other folders than its engine, perhaps of the same name: then the workspace is copied,
    from the first task on."""
    elsewhere = tmp_path / "elsewhere"
    if there:
        elsewhere.mkdir()
    make = spec.main_container

    def of_the_engine(*given):
        config = make(*given)
        for mount in config["HostConfig"]["Mounts"]:
            mount["Source"] = str(elsewhere)
        return config

    monkeypatch.setattr(spec, "main_container", of_the_engine)
    executor, prepared = docker(), contain(artifacts=Artifacts(paths=("made",)))
    (prepared.workspace / "there").write_text("here\n")
    for number in range(2):
        async with executor.open(prepared) as session:
            assert (await session.run([f"cat there; echo {number} >made"], sink)).ok
        assert (prepared.workspace / "made").read_text() == f"{number}\n"
    assert (sink.output == b"here\nhere\n" and not there) or not [*elsewhere.iterdir()]


async def test_an_engine_of_another_machine_gets_and_gives_copies(far, docker, contain, sink):
    executor, prepared = docker(address=far), contain(artifacts=Artifacts(paths=("made",)))
    (prepared.workspace / "there").write_text("here\n")
    async with executor.open(prepared) as session:
        assert (await session.run(["cat there; echo 1 >made; head -c 5000000 /dev/zero"], sink)).ok
    assert len(sink.output) == 5_000_005 and (prepared.workspace / "made").read_text() == "1\n"
