"""No file is longer than a person reads in one sitting."""

MOST_LINES = 400
MOST_BYTES = 512 * 1024


def test_no_python_file_is_longer_than_400_lines(root, tracked, record_property):
    """House rule: files of at most 400 lines."""
    lines = {path: path.read_bytes().count(b"\n") for path in tracked if path.suffix == ".py"}
    assert len(lines) > 100, "the files were not found"
    longest = max(lines, key=lines.get)
    record_property("longest", f"{longest.relative_to(root)}: {lines[longest]}")
    over = {str(path.relative_to(root)): count for path, count in sorted(lines.items()) if count > MOST_LINES}
    assert over == {}


def test_nothing_large_is_in_the_repository(root, tracked):
    """House rule: a clone is small; what can be made is not kept."""
    assert {str(path.relative_to(root)) for path in tracked if path.stat().st_size > MOST_BYTES} == set()
