"""Which of the organization's error codes a failure has: by where it happened, and by what it says.

Regular expressions are RE2's, as in the Go original: they take time in proportion to what they read, whatever somebody
writes, and none looks at more than the end of a log. The log is masked already.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from formicary.runner.core.errorcodes import ErrorCode, in_order
from formicary.runner.core.errors import FormicaryError, UserError
from formicary.runner.core.execution import Result
from formicary.runner.core.judged import Judgement
from formicary.runner.queen.keeping.logs import Logs
from formicary.runner.queen.keeping.tail import plain, tail

log = logging.getLogger("formicary.queen")

LOOKED_AT: Final = 64 << 10
"""Bytes from the end of a log that a regular expression is tried on."""
LAST: Final = 200
"""Lines of these."""
MOST_MEMORY: Final = 1 << 20
"""Bytes that a compiled regular expression may take."""


def judge(
    codes: Iterable[ErrorCode], where: tuple[str, str, str], result: Result, logs: Logs, task_execution_id: str
) -> Judgement | None:
    """The first code that fits a failure. `where`: job, task, platform. Blocking."""
    fitting = [code for code in in_order(codes) if code.covers(*where, result.exit_code)]
    if not fitting:
        return None
    said = _said(result, logs, task_execution_id) if any(code.regex for code in fitting) else ""
    return next((code.judgement() for code in fitting if not code.regex or _matches(code, said)), None)


def _said(result: Result, logs: Logs, task_execution_id: str) -> str:
    """The error message, and the last lines of the log."""
    try:
        written = plain(tail(logs, task_execution_id, LOOKED_AT))
    except (OSError, FormicaryError) as error:
        log.warning("the log of %s cannot be looked at for error codes: %s", task_execution_id, error)
        written = ""
    return "\n".join([result.error_message, *written.rstrip().split("\n")[-LAST:]])


def _matches(code: ErrorCode, said: str) -> bool:
    try:
        return compiled(code.regex).search(said) is not None
    except UserError as error:  # an older Formicary, or an older RE2, has taken it
        log.warning("error code %d is left out: %s", code.id, error)
        return False


@lru_cache(maxsize=512)
def compiled(regex: str) -> Any:
    """`^` and `$` are the ends of lines. Raises UserError for what RE2 does not take."""
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = MOST_MEMORY
    try:
        return re2.compile(f"(?m){regex}", options)
    except re2.error as error:
        told = error.args[0] if error.args else ""
        text = told.decode("utf-8", "replace") if isinstance(told, bytes) else str(told)
        why = text.replace("(?m)", "", 1)
        raise UserError(f"`{regex[:80]}` is no regular expression of RE2: {why}") from error
