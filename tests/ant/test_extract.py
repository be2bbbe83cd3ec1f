"""T11: hostile archives write nothing outside the workspace, through no link, and not without bounds."""

import io
import os
import tarfile

import pytest

from formicary.ant.below import Below, Outside
from formicary.ant.extract import HostileArchive, unpack
from formicary.ant.settings import ArtifactLimits
from formicary.runner.core.errors import UserError

LIMITS = ArtifactLimits(max_files=10, max_bytes=1000)


def tar(*members, format=tarfile.PAX_FORMAT):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format) as archive:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                info.linkname = content
                archive.addfile(info)
    return stream.getvalue()


def regular(name, content=b"x"):
    return name, tarfile.REGTYPE, content


@pytest.fixture
def workspace(tmp_path):
    folder = tmp_path / "workspace"
    folder.mkdir()
    (tmp_path / "outside").mkdir()
    return folder


def unpacked(workspace, data, limits=LIMITS):
    with Below(workspace) as below:
        return unpack(io.BytesIO(data), below, limits)


def everything(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_files_and_folders(workspace):
    members = [("d", tarfile.DIRTYPE, ""), regular("d/e/file", b"content"), regular("./top")]
    assert unpacked(workspace, tar(*members)) == 8
    assert everything(workspace) == ["d", "d/e", "d/e/file", "top"]
    assert (workspace / "d/e/file").read_bytes() == b"content"
    assert (workspace / "d/e/file").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "members",
    [
        [regular("../evil")],
        [regular("a/../../evil")],
        [regular("/tmp/formicary-evil")],
        [("link", tarfile.SYMTYPE, "../outside"), regular("link/evil")],
        [("link", tarfile.SYMTYPE, "/etc/passwd")],
        [("link", tarfile.LNKTYPE, "../outside")],
        [("dev", tarfile.CHRTYPE, "")],
        [("dev", tarfile.BLKTYPE, "")],
        [("pipe", tarfile.FIFOTYPE, "")],
        [("cont", tarfile.GNUTYPE_SPARSE, "")],
        [regular("file"), regular("file/below")],
        [("d", tarfile.DIRTYPE, ""), regular("d")],
        [regular("")],
        [regular("n" * 5000)],
        [regular("a/" * 2000 + "x")],
        [regular(f"{number}") for number in range(11)],
        [regular("big", b"x" * 1001)],
        [regular("one", b"x" * 600), regular("two", b"x" * 600)],
    ],
    ids=lambda members: str(members[0][0])[:20] + str(len(members)),
)
@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_hostile_members(workspace, members, format):
    with pytest.raises((HostileArchive, Outside)):
        unpacked(workspace, tar(*members, format=format))
    assert everything(workspace.parent / "outside") == []
    assert everything(workspace.parent)[0] == "outside" and not (workspace.parent / "evil").exists()


def test_links_that_lie_there_already(workspace):
    """A link in the workspace is no way out: neither as a folder nor as a file."""
    outside = workspace.parent / "outside"
    (outside / "kept").write_text("as it was")
    (workspace / "dir").symlink_to(outside)
    (workspace / "file").symlink_to(outside / "kept")
    with pytest.raises(Outside):
        unpacked(workspace, tar(regular("dir/kept")))
    with pytest.raises(Outside):
        unpacked(workspace, tar(("dir", tarfile.DIRTYPE, "")))
    unpacked(workspace, tar(regular("file", b"new")))
    assert (outside / "kept").read_text() == "as it was"
    assert not (workspace / "file").is_symlink() and (workspace / "file").read_bytes() == b"new"


def test_a_hard_link_is_not_written_through(workspace):
    kept = workspace.parent / "outside" / "kept"
    kept.write_text("as it was")
    os.link(kept, workspace / "file")
    unpacked(workspace, tar(regular("file", b"new")))
    assert kept.read_text() == "as it was"


def test_cut_off_and_nonsense(workspace):
    whole = tar(regular("file", b"x" * 900))
    for data in (whole[:700], whole[:100], b"nonsense" * 200, b"\x1f\x8b" + b"gzip" * 100):
        with pytest.raises(UserError):
            unpacked(workspace, data)


def test_a_header_that_is_a_bomb(workspace):
    """An extended header is read into memory whole."""
    bomb = tarfile.TarInfo("././@PaxHeader")
    bomb.type, bomb.size = tarfile.XHDTYPE, 1 << 30
    with pytest.raises(HostileArchive, match="header"):
        unpacked(workspace, bomb.tobuf(tarfile.USTAR_FORMAT) + b"\0" * 10_000)


def test_compressed_archives_are_not_ours(workspace):
    """No bytes come out that did not go in: there is nothing to inflate."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        info = tarfile.TarInfo("zeros")
        info.size = 100
        archive.addfile(info, io.BytesIO(b"\0" * 100))
    with pytest.raises(HostileArchive):
        unpacked(workspace, stream.getvalue())
