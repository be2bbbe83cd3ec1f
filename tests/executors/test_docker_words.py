"""What is said between us and an engine, without one: specifications, the holder's words, frames, files."""

import io
import os
import socket
import tarfile

import pytest

from formicary.executors import docker_carry as carry
from formicary.executors import docker_spec as spec
from formicary.executors import inside
from formicary.executors.contract import Limits, Prepared
from formicary.executors.docker_stream import Attached
from formicary.runner.core.containing import Amount, Container, Port, Service, Volume
from formicary.runner.core.definition import TaskDefinition

IMAGE = spec.Image("app:1", "sha256:1", "sha256:2", entrypoint=("/enter",), command=("serve",))
LIMITS = Limits()
AROUND = spec.Surroundings({"a": "b"}, "net", "/host/ws", "/workspace", {"d": "d-1"})


def of_main(holder=("HOLDER",), image=IMAGE, limits=LIMITS, container=None, **task):
    box = Container(image="app:1", **(container or {}))
    task = TaskDefinition(task_type="t", method="DOCKER", container=box, **task)
    prepared = Prepared("1", task, {}, "/host/ws", "/host/run", limits=limits)
    return spec.main_container(prepared, image, {"A": "b c"}, AROUND, holder)


@pytest.mark.parametrize(
    ("said", "entrypoint", "command"),
    [
        ({}, ["/enter"], ["HOLDER"]),
        ({"entrypoint": ()}, ["HOLDER"], []),
        ({"entrypoint": ("",)}, ["HOLDER"], []),
        ({"entrypoint": ("tini", "--")}, ["tini", "--"], ["HOLDER"]),
        ({"command": ("ignored",)}, ["/enter"], ["HOLDER"]),
    ],
)
def test_what_a_scripts_container_runs(said, entrypoint, command):
    made = of_main(container=said)
    assert (made["Entrypoint"], made["Cmd"]) == (entrypoint, command)


@pytest.mark.parametrize(
    ("said", "entrypoint", "command"),
    [
        ({}, ["/enter"], ["serve"]),
        ({"command": ("other",)}, ["/enter"], ["other"]),
        ({"entrypoint": ("sh",)}, ["sh"], []),
        ({"entrypoint": ("",), "command": ("ls",)}, [""], ["ls"]),
    ],
)
def test_what_a_container_without_a_script_runs(said, entrypoint, command):
    """As the engine itself has it: an entrypoint of its own passes the image's command by."""
    made = of_main(holder=(), container=said)
    assert (made["Entrypoint"], made["Cmd"], made["OpenStdin"]) == (entrypoint, command, False)


def test_a_container_that_runs_nothing_is_refused():
    with pytest.raises(ValueError, match="says no command"):
        of_main(holder=(), image=spec.Image("x", "i", "d"))


def test_a_container_has_no_way_to_more_privileges_and_mounts_what_it_is_told():
    volumes = (
        Volume(kind="empty_dir", name="d", mount_path="/d"),
        Volume(kind="empty_dir", name="m", mount_path="/m", medium="Memory"),
        Volume(kind="host_path", name="h", mount_path="/h", host_path="/srv", sub_path="x", read_only=True),
        Volume(kind="named", name="n", mount_path="/n"),
    )
    host = of_main(volumes=volumes, container={"bind_dir": "/a:/b:ro", "devices": ("/dev/x:/dev/y:r",)})["HostConfig"]
    assert host["SecurityOpt"] == ["no-new-privileges"] and host["Privileged"] is False
    assert [(one["Type"], one.get("Source"), one["Target"], one.get("ReadOnly")) for one in host["Mounts"]] == [
        ("bind", "/host/ws", "/workspace", None),
        ("volume", "d-1", "/d", False),
        ("tmpfs", None, "/m", False),
        ("bind", "/srv/x", "/h", True),
        ("volume", "n", "/n", False),
        ("bind", "/a", "/b", True),
    ]
    assert host["Devices"] == [{"PathOnHost": "/dev/x", "PathInContainer": "/dev/y", "CgroupPermissions": "r"}]
    assert of_main(privileged=True)["HostConfig"]["SecurityOpt"] == []


def test_the_operators_limit_is_the_smaller_one():
    amount = {"memory_limit": Amount(written="1Gi", number=1 << 30)}
    host = of_main(container=amount, limits=Limits(9, 64 << 20, 77))["HostConfig"]
    assert host["Memory"] == 64 << 20
    assert [(one["Name"], one["Hard"]) for one in host["Ulimits"]] == [("cpu", 9), ("fsize", 77)]
    with pytest.raises(ValueError, match="6Mi"):
        of_main(container={"memory_limit": Amount(written="1Mi", number=1 << 20)})


def test_a_service_is_found_by_name_and_alias():
    service = Service(name="db", alias="database", image="pg:1", ports=(Port(number=5432),), environment={"P": "x"})
    made = spec.service_container(service, IMAGE, Limits(), AROUND)
    assert made["NetworkingConfig"] == {"EndpointsConfig": {"net": {"Aliases": ["db", "database"]}}}
    assert made["Env"] == ["P=x"] and made["HostConfig"]["NetworkMode"] == "net"


def test_what_is_not_kept_is_said():
    amount = Amount(written="1Gi", number=1 << 30)
    box = Container(image="x", ephemeral_storage_limit=amount)
    task = TaskDefinition(task_type="t", method="DOCKER", container=box, helper=Container(image="h"))
    assert [said.split()[0] for said in spec.unkept(task)] == ["ephemeral_storage_limit", "`helper`"]


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("busybox", "sha256:b"),
        ("docker.io/library/busybox:1", "sha256:b"),
        ("r.example:5000/busybox:1", "sha256:r"),
        ("r.example:5000/busybox@sha256:r", "sha256:r"),
    ],
)
def test_the_digest_is_that_of_the_registry_it_is_from(name, digest):
    said = {"Id": "sha256:i", "RepoDigests": ["r.example:5000/busybox@sha256:r", "busybox@sha256:b"], "Config": {}}
    assert spec.Image.of(name, said).digest == digest
    assert spec.Image.of(name, {"Id": "sha256:i", "RepoDigests": [], "Config": None}).digest == "sha256:i"


def test_what_the_holder_says_is_taken_out_however_it_is_cut():
    stream = b"one\x1ettt\n\x1en0:end 3 1 4096 20us 30us 5 6 1\ntwo\x1en0:gone\n\x1en"
    for cut in range(len(stream) + 1):
        hearing, out, said = inside.Hearing("n0"), [], []
        for part in (stream[:cut], stream[cut:]):
            said += hearing.feed(part, out.append)
        hearing.close(out.append)
        assert b"".join(out) == b"one\x1ettt\ntwo\x1en"
        assert [words[0] for words in said] == ["end", "gone"]
    found = inside.ended(said[0][1:])
    assert (found.status, found.out_of_memory, found.wrote) == (3, 1, True)
    assert found.usage["max_rss_bytes"] == 4096 and found.usage["system_seconds"] == pytest.approx(30e-6)
    assert inside.ended(["0", "0", "0", "150t", "0t", "0", "0", "0"]).usage == {"user_seconds": 1.5}


def test_a_shell_of_several_lines_is_refused():
    with pytest.raises(ValueError, match="line break"):
        inside.run_line(["sh", "-c\n"], "/x", "n")


async def test_frames_are_joined_however_they_are_cut():
    frames = b"".join(bytes([1, 0, 0, 0]) + len(text).to_bytes(4, "big") + text for text in (b"one", b"", b"two" * 9))
    for cut in range(1, len(frames)):
        ours, theirs = socket.socketpair()
        line, found = Attached(ours), b""
        with theirs:
            theirs.sendall(frames[:cut])
            if cut > 8:
                found += await line.read()
            theirs.sendall(frames[cut:])
            theirs.shutdown(socket.SHUT_WR)
            while data := await line.read():
                found += data
        line.close()
        assert found == b"one" + b"two" * 9


def a_tar(*members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid = kind, 0o777, 1234
            if kind == tarfile.REGTYPE:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                info.linkname = content.decode()
                tar.addfile(info)
    buffer.seek(0)
    return buffer


def test_only_files_and_folders_come_out_of_a_container(tmp_path):
    """T11: no link, nothing above, nothing special; a second name is a file of its own, and all of it is ours."""
    given = a_tar(
        ("ws", tarfile.DIRTYPE, b""),
        ("ws/ok/a", tarfile.REGTYPE, b"1"),
        ("ws/link", tarfile.SYMTYPE, b"/etc"),
        ("ws/link/passwd", tarfile.REGTYPE, b"2"),
        ("ws/../../up", tarfile.REGTYPE, b"3"),
        ("/abs", tarfile.REGTYPE, b"4"),
        ("ws/pipe", tarfile.FIFOTYPE, b""),
        ("ws/hard", tarfile.LNKTYPE, b"ws/ok/a"),
    )
    carry.unpack(given, tmp_path)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"ok/a", "link/passwd", "abs", "hard"}
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))
    assert (tmp_path / "ok/a").stat().st_uid == os.geteuid()


def test_more_than_is_copied_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(carry, "MOST_FILES", 2)
    with pytest.raises(carry.TooMuch):
        carry.unpack(a_tar(*((f"ws/{number}", tarfile.REGTYPE, b"") for number in range(3))), tmp_path)


def test_a_workspace_is_packed_with_its_links_and_given_to_its_user(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_text("x")
    (tmp_path / "l").symlink_to("d")
    for at, names in (("/src", {"src", "src/d", "src/d/f", "src/l"}), ("/", {"d/f", "l"})):
        file = io.BytesIO()
        carry.pack(tmp_path, at, (77, 88), file)
        with tarfile.open(fileobj=file) as tar:
            assert {info.name: (info.uid, info.gid) for info in tar} == dict.fromkeys(names, (77, 88))


PASSWD = b"root:x:0:0::/:/bin/sh\napp:x:1234:50::/:/bin/sh\nbroken\n"


@pytest.mark.parametrize(
    ("user", "ids"),
    [
        ("app", (1234, 50)),
        ("app:staff", (1234, 60)),
        ("1234", (1234, 50)),
        ("5", (5, 0)),
        ("5:6", (5, 6)),
        ("nobody", None),
    ],
)
def test_a_user_by_name_or_number(user, ids):
    assert carry.user_ids(user, PASSWD, b"staff:x:60:\n") == ids


def test_what_a_container_changed_is_named_once():
    changes = [
        {"Path": "/etc", "Kind": 0},
        {"Path": "/etc/group", "Kind": 0},
        {"Path": "/new", "Kind": 1},
        {"Path": "/new/deep", "Kind": 1},
        {"Path": "/out.txt", "Kind": 1},
        {"Path": "/formicary", "Kind": 1},
        {"Path": "/formicary/output", "Kind": 1},
        {"Path": "/usr", "Kind": 0},
        {"Path": "/usr/gone", "Kind": 2},
    ]
    assert carry.tops(changes) == ["/etc/group", "/new", "/out.txt"]
    assert carry.roots(["a/b", "c", "a/*"]) == ["a", "c"]
    assert carry.roots(["a/b", "*.txt"]) is None
