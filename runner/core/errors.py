"""Every error of Formicary. An error says what to do next, not where it arose.

FormicaryError
├── UserError                  their file, their script, their call: shown to them, with place and remedy
│   ├── DefinitionError        one or more Problems in a definition, each with file:line:column
│   ├── RequestRefused         a job request that cannot be made (unknown job, missing or invalid parameters)
│   ├── NotFound               what was named does not exist, or belongs to somebody else
│   ├── NotAllowed             the thing is there, and for others to decide
│   ├── Conflict               the thing exists, but its state does not allow this
│   ├── NotSupported           an honest no: this version cannot do it
│   ├── SetupError             the operator's settings, folders or ports
│   │   └── Locked             a secret whose key is not at hand: the world's too, it opens once the key is back
│   └── Undeliverable          what is owed to the outside can never arrive as it is: somebody must act, then resend
├── WorldError                 a disk, a network, a forge: wait and retry
│   ├── RepositoryUnavailable
│   └── ToldToWait             the other side is there, and said when to come back
└── LostError                  our own fault: logged with a reference, shown as lost, retried by its own budget
    ├── ImpossibleTransition   a state change that the table does not hold
    └── StaleFence             a report or heartbeat of an attempt that is no longer the newest

The docstring of an error is its default message. Error codes of tasks and jobs are at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


class FormicaryError(Exception):
    """Something went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class UserError(FormicaryError):
    """The request cannot be carried out as it was made."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a definition. Lines and columns count from 1; 0 means the whole file.

    `expected` is the remedy as a sentence, `source` the line as written (without its newline).
    """

    path: str
    line: int
    column: int
    message: str
    expected: str = ""
    source: str = ""
    severity: str = "error"
    """`error` or `warning`."""

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}:{self.column}" if self.line else self.path
        text = f"{place}: {self.message}" + (f" ({self.expected})" if self.expected else "")
        if not self.source:
            return text
        caret = " " * max(self.column - 1, 0) + "^"
        return f"{text}\n    {self.source}\n    {caret}"


class DefinitionError(UserError):
    """The definition is not valid."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class RequestRefused(UserError):
    """The job cannot be requested this way."""

    def __init__(self, message: str | None = None, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class NotFound(UserError):
    """Not found."""


class NotAllowed(UserError):
    """This is for others to do."""


class Conflict(UserError):
    """Its present state does not allow this."""


class NotSupported(UserError):
    """Not supported."""


class SetupError(UserError):
    """Formicary cannot work with these settings."""


class Undeliverable(UserError):
    """What is owed to the outside cannot arrive as it is. Its message says who has to do what before it is resent."""


class WorldError(FormicaryError):
    """Something outside did not answer; it will be tried again."""


class RepositoryUnavailable(WorldError):
    """The repository cannot be read now."""


class Locked(SetupError, WorldError):
    """It is sealed, and the key that opens it is not at hand."""


class ToldToWait(WorldError):
    """The other side asks us to come back later."""

    def __init__(self, message: str | None = None, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds from now."""


class LostError(FormicaryError):
    """Formicary itself failed here."""


class ImpossibleTransition(LostError):
    """This change of state is not in the table of allowed transitions."""


class StaleFence(LostError):
    """This attempt is no longer the newest; it must stop."""


# Error codes that tasks and jobs end with. `ERR_LOST…` are ours (D12: lost is not failed), the others the user's.
ERR_DEFINITION: Final = "ERR_DEFINITION"
ERR_EXIT_CODE: Final = "ERR_EXIT_CODE"
ERR_TIMEOUT: Final = "ERR_TIMEOUT"
ERR_CANCELLED: Final = "ERR_CANCELLED"
ERR_CHECKOUT: Final = "ERR_CHECKOUT"
ERR_ARTIFACT: Final = "ERR_ARTIFACT"
ERR_FATAL: Final = "ERR_FATAL"
ERR_HTTP: Final = "ERR_HTTP"
ERR_ADDRESS: Final = "ERR_ADDRESS"
ERR_FORK: Final = "ERR_FORK"
ERR_FORKED_JOB: Final = "ERR_FORKED_JOB"
ERR_RESTARTS: Final = "ERR_RESTARTS"
ERR_REJECTED: Final = "ERR_REJECTED"
ERR_OUT_OF_MEMORY: Final = "ERR_OUT_OF_MEMORY"
ERR_SERVICE: Final = "ERR_SERVICE"
ERR_NOT_ALLOWED: Final = "ERR_NOT_ALLOWED"
ERR_ANT_LOST: Final = "ERR_ANT_LOST"
ERR_LOST: Final = "ERR_LOST"
ERR_IMAGE: Final = "ERR_IMAGE"
LOST_CODES: Final = frozenset({ERR_ANT_LOST, ERR_LOST, ERR_IMAGE})
