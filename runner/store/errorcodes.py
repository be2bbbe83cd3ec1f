"""Error codes of organizations, and artifacts that are due, in SQLite."""

from __future__ import annotations

from formicary.runner.core.errorcodes import ErrorCode
from formicary.runner.core.errors import NotFound
from formicary.runner.core.records import Artifact
from formicary.runner.store import rows
from formicary.runner.store.looking import Looking
from formicary.runner.store.rows import changed
from formicary.runner.store.sql import SQL


class SqliteDueReader(Looking):
    """The `DueReader` of one connection."""

    def artifacts_due(self, organization_id: str, now: float, limit: int) -> list[Artifact]:
        keys = {"organization_id": organization_id, "now": now, "limit": limit}
        return self._many(rows.ARTIFACT, "artifacts_due", keys)

    def artifacts_older(self, repository_id: int, before: float, limit: int) -> list[Artifact]:
        keys = {"repository_id": repository_id, "before": before, "limit": limit}
        return self._many(rows.ARTIFACT, "artifacts_older", keys)


class SqliteErrorCodesReader(SqliteDueReader):
    """The `ErrorCodesReader` of one connection."""

    def error_codes(self, organization_id: str) -> list[ErrorCode]:
        return self._many(rows.ERROR_CODE, "error_codes", {"organization_id": organization_id})

    def error_code(self, code_id: int) -> ErrorCode | None:
        return self._one(rows.ERROR_CODE, "error_code", {"id": code_id})


class SqliteErrorCodesTx(SqliteErrorCodesReader):
    """The `ErrorCodesTx` of one change."""

    now: float

    def put_error_code(self, code: ErrorCode) -> ErrorCode:
        if not code.id:
            new = changed(code, created_at=self.now, updated_at=self.now)
            (new_id,) = self._row("add_error_code", rows.ERROR_CODE.encode(new))
            return changed(new, id=new_id)
        known = changed(code, updated_at=self.now)
        if self._execute(SQL["save_error_code"], rows.ERROR_CODE.encode(known)).rowcount != 1:
            raise NotFound(f"There is no error code {code.id}.")
        return known

    def delete_error_code(self, code_id: int) -> bool:
        return self._execute(SQL["delete_error_code"], {"id": code_id}).rowcount > 0
