"""docs/compatibility.md: what the original's files still need is what this version does not have yet."""

import re

from formicary.runner.core import definition as model

NOT_YET = {*model.METHODS_NOT_YET, *model.TRIGGERS_NOT_YET}


def test_what_the_originals_files_need_is_still_to_come(root):
    """What has come by now is taken out of the line; a file that needs nothing more loads."""
    page = (root / "docs" / "compatibility.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\S+\.yaml) \| (loads|refused|needs [^|]+) \|", page, re.M)
    assert len(rows) > 100
    needed = {name for _, state in rows for name in re.findall(r"`(\w+)`", state)}
    assert needed - NOT_YET == set(), "take these out of docs/compatibility.md"
