"""One order, from its claim to its report: log, workspace, script, after_script, and what is kept.

How it ended is a Result, whoever's script it was; what we could not do ourselves is LOST (D12). The report goes out
after the queen has taken the last byte of the log (D13).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Final, Literal

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from formicary.ant import contained, environment, keep, prepare
from formicary.ant.filling import filled
from formicary.ant.kit import Kit
from formicary.ant.log import Log
from formicary.ant.persist import persistently
from formicary.ant.refusal import TaskRefused
from formicary.ant.workspace import Place
from formicary.executors.contract import Outcome, Prepared, Session
from formicary.runner.core.errors import (
    ERR_ANT_LOST,
    ERR_CANCELLED,
    ERR_TIMEOUT,
    LOST_CODES,
    LostError,
    NotSupported,
    SetupError,
    StaleFence,
    WorldError,
)
from formicary.runner.core.execution import ArtifactRef, Result
from formicary.runner.core.messages import Report, TaskOrder
from formicary.runner.core.reports import Reports
from formicary.runner.core.secrets.forms import MIN_SECRET, too_short
from formicary.runner.core.secrets.masking import Masker

Kind = Literal["EXECUTING", "FINISHED", "LOST"]
LAST_WORDS: Final = 5.0
"""Seconds to tell the queen that a task is lost because the ant itself is being ended."""

_logger = logging.getLogger(__name__)


class Lost(Exception):
    """We could not do it: the attempt is lost, not failed. `code` is one of `LOST_CODES`."""

    def __init__(self, message: str, code: str = ERR_ANT_LOST) -> None:
        super().__init__(message)
        self.code = code


class Task:
    """One attempt. `stop` may be called at any time, again and again."""

    def __init__(self, kit: Kit, order: TaskOrder, place: Place) -> None:
        self._kit, self._place = kit, place
        self.order = order
        self._masker = Masker(order.secrets.values())
        self._log = Log(kit.bus, order, self._masker, place.spool, kit.settings.max_log_bytes)
        self._scope: anyio.CancelScope | None = None
        self._stops = 0
        self._disowned = self._script_began = False
        self._warnings: list[str] = []
        self._exact: frozenset[str] = frozenset()

    def stop(self) -> None:
        """The queen wants it ended. The first time its after_script still runs."""
        self._stops += 1
        if self._scope is not None:
            self._scope.cancel()

    def disown(self) -> None:
        """The lease is not ours any more: end everything at once."""
        self._disowned = True
        self.stop()

    # ---- from claim to report

    async def perform(self) -> None:
        """Do it and say how it went. Cancelled, it says that it is lost, as well as it can."""
        try:
            report = await self._with_log()
            await persistently(lambda: self._kit.bus.report(report), "reporting")
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(LAST_WORDS, shield=True):
                await self._last_words()
            raise
        except StaleFence:
            pass  # the queen has given this attempt up already

    async def _last_words(self) -> None:
        try:
            await self._kit.bus.report(self._report("LOST", message="The ant was stopped while it ran this task."))
        except Exception as error:
            _logger.warning("%s is left to its lease: %s", self.order.task_execution_id, error)

    async def _with_log(self) -> Report:
        async with anyio.create_task_group() as group:
            group.start_soon(self._pump, name="log pump")
            try:
                report = await self._attempt(group)
            finally:
                self._log.close()
        return report

    async def _pump(self) -> None:
        try:
            await self._log.pump()
        except Exception:
            _logger.exception("the log of %s cannot be sent any more", self.order.task_execution_id)
        if self._log.disowned:
            self.disown()

    def _report(self, kind: Kind, *, result: Result | None = None, message: str = "", code: str = "") -> Report:
        order = self.order
        return Report.model_construct(
            task_execution_id=order.task_execution_id,
            fence=order.fence,
            ant_id=self._kit.settings.ant_id,
            kind=kind,
            result=result,
            message=message,
            code=code,
        )

    async def _attempt(self, group: TaskGroup) -> Report:
        try:
            return self._report("FINISHED", result=await self._result(group))
        except Lost as error:
            return self._lost(str(error), error.code)
        except (WorldError, SetupError, LostError, OSError) as error:
            return self._lost(f"{error}")
        except Exception as error:
            _logger.exception("task execution %s", self.order.task_execution_id)
            return self._lost(f"The ant failed: {type(error).__name__}: {error}")

    def _lost(self, message: str, code: str = ERR_ANT_LOST) -> Report:
        self._log.sys(f"This attempt is lost, which is not its script's fault. {message}")
        return self._report("LOST", message=self._told(message), code=code)

    def _told(self, text: str) -> str:
        """Masked, and text that can be stored: a file's name in it may be any bytes."""
        return self._masker.text(text).encode("utf-8", "replace").decode()

    # ---- what happens in between

    async def _result(self, group: TaskGroup) -> Result:
        self._say_first()
        if not self.order.trusted and self._place.uid is None:
            raise Lost("This ant does not give tasks users of their own, so it runs nothing that is not trusted (T19).")
        self._kit.places.furnish(self._place)
        self.order = order = filled(self.order)
        try:
            executor = self._kit.executors.executor(order.task.method)
        except (NotSupported, SetupError) as error:
            raise Lost(str(error)) from error
        async with executor.open(self._prepared()) as session:
            outcome = await self._script(session, group)
            await self._after_script(session)
        if outcome.error_code in LOST_CODES:
            raise Lost(outcome.error_message, outcome.error_code)
        return await self._kept(outcome)

    def _say_first(self) -> None:
        for note in self.order.notes:
            self._log.sys(note)
        for name, secret in self.order.secrets.items():
            if too_short(secret):
                self._log.sys(f"Secret {name} is shorter than {MIN_SECRET} characters and is not masked.")

    def _prepared(self) -> Prepared:
        place, order, settings = self._place, self.order, self._kit.settings
        files = {name: place.run / f"env_{name}" for name in order.files}
        for name, path in files.items():
            place.write_run(path, order.files[name].encode("utf-8", "surrogateescape"))
        return Prepared(
            order.task_execution_id,
            order.task,
            environment.compose(order, place, settings.path, files),
            place.workspace,
            place.run,
            place.uid,
            place.uid,
            settings.limits,
            settings.allow_networks,
            order.fence,
            settings.ant_id,
        )

    async def _script(self, session: Session, group: TaskGroup) -> Outcome:
        task = self.order.task
        with self._stoppable(1), anyio.move_on_after(task.timeout) as time:
            try:
                contained.check(self.order, self._kit.settings)
                await prepare.sources(self._kit, self.order, self._place, self._log)
                run = self._fresh_shells if task.fresh_shell else self._one_shell
                outcome = await run(session, group)
            except TaskRefused as error:
                self._log.sys(str(error))
                return Outcome(None, error.code, str(error))
            if not outcome.ok and outcome.error_code not in LOST_CODES:  # that is said with the attempt's end
                self._log.sys(outcome.error_message)
            return outcome
        if time.cancelled_caught:
            text = f"The task did not finish within its timeout of {duration(task.timeout)} and was ended."
            return self._ended(ERR_TIMEOUT, text)
        return self._ended(ERR_CANCELLED, "The task was cancelled.")

    async def _one_shell(self, session: Session, group: TaskGroup) -> Outcome:
        """The native order: what other tasks left is there before anything runs."""
        task = self.order.task
        self._exact = await prepare.inputs(self._kit, self.order, self._place, self._log)
        self._begin(group)
        return await session.run((*task.before_script, *task.script), self._log)

    async def _fresh_shells(self, session: Session, group: TaskGroup) -> Outcome:
        """The order of the Go original: before_script, what other tasks left, script."""
        task = self.order.task
        self._begin(group)
        before = Outcome(0)
        if task.before_script:
            before = await session.run(task.before_script, self._log, name="before_script")
        if not before.ok:
            return before
        self._exact = await prepare.inputs(self._kit, self.order, self._place, self._log)
        outcome = await session.run(task.script, self._log)
        return replace(outcome, usage=together(before.usage, outcome.usage))

    def _begin(self, group: TaskGroup) -> None:
        self._script_began = True
        group.start_soon(self._say_executing, name="report executing")

    def _ended(self, code: str, text: str) -> Outcome:
        self._log.sys(text)
        return Outcome(None, code, text)

    async def _say_executing(self) -> None:
        report = self._report("EXECUTING")
        try:
            await persistently(lambda: self._kit.bus.report(report), "reporting")
        except Exception:
            _logger.exception("cannot report that %s is executing", report.task_execution_id)

    async def _after_script(self, session: Session) -> None:
        items = self.order.task.after_script
        if not items or not self._script_began or self._disowned:
            return
        limit = self._kit.settings.after_script_timeout
        with self._stoppable(2), anyio.move_on_after(limit) as time:
            outcome = await session.run(items, self._log, name="after_script")
            if not outcome.ok:
                self._warn(f"after_script: {outcome.error_message}")
            return
        if time.cancelled_caught:
            self._warn(f"after_script did not finish within {duration(limit)} and was ended.")
        else:
            self._warn("after_script was ended: the task was cancelled again.")

    @contextmanager
    def _stoppable(self, stops: int) -> Iterator[None]:
        """A scope that ends when the queen has said stop for the `stops`-th time."""
        try:
            with anyio.CancelScope() as scope:
                self._scope = scope
                if self._stops >= stops or self._disowned:
                    scope.cancel()
                yield
        finally:
            self._scope = None

    def _warn(self, text: str) -> None:
        text = self._told(text)
        self._warnings.append(text)
        self._log.sys(f"Warning: {text}")

    # ---- what is kept

    async def _artifacts(self, outcome: Outcome) -> tuple[tuple[ArtifactRef, ...], Outcome]:
        """What was kept; a task whose artifacts cannot be kept has failed."""
        if not self._script_began or self._disowned:
            return (), outcome
        refs, warnings, said, refused = await keep.artifacts_and_cache(
            self._kit, self.order, self._place, outcome, self._exact, self._log.sys, self._hurried
        )
        for text in said:
            self._log.sys(text)
        for text in warnings:
            self._warn(text)
        if refused is not None:
            self._warn(str(refused))
            if outcome.ok:
                outcome = Outcome(outcome.exit_code, refused.code, str(refused), outcome.usage)
        return refs, outcome

    async def _reports(self) -> Reports | None:
        if not self.order.task.reports or not self._script_began or self._disowned:
            return None
        warnings: list[str] = []
        call = partial(keep.reports, self.order.task, self._place, self._told, warnings.append)
        found = await to_thread.run_sync(call, limiter=self._kit.threads)
        for text in warnings:
            self._warn(text)
        if found is not None:
            self._log.sys(f"Reports: {found.tally().told}.")
        return found

    def _hurried(self) -> bool:
        """Whether the queen wants it ended: then nobody waits for the artifact store."""
        return self._stops > 0

    async def _kept(self, outcome: Outcome) -> Result:
        refs, outcome = await self._artifacts(outcome)
        reports = await self._reports()
        self._log.close()
        if self._log.full:
            self._warnings.append("The log is not whole: the queen was away, and the ant's disk had no room for it.")
        outputs, warnings = keep.outputs(self._place, self._log.commands.outputs)
        mask = self._told
        return Result(
            exit_code=outcome.exit_code,
            error_code=outcome.error_code,
            error_message=mask(outcome.error_message),
            outputs={name: mask(value) for name, value in outputs.items()},
            artifacts=tuple(ref.model_copy(update={"name": mask(ref.name)}) for ref in refs),
            warnings=(*self._warnings, *self._log.commands.warnings, *map(mask, warnings)),
            usage=outcome.usage,
            completed=outcome.completed,
            reports=reports,
        )


def together(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """What two scripts used: times add up, memory is the larger one."""
    added = {name: one.get(name, 0.0) + value for name, value in other.items()}
    rss = "max_rss_bytes"
    return added | ({rss: max(one.get(rss, 0.0), other[rss])} if rss in other else {})


def duration(seconds: float) -> str:
    """As the language writes it: 1h30m, 15s, 0.5s."""
    whole, rest = divmod(seconds, 1)
    if rest or whole == 0:
        return f"{seconds:g}s"
    minutes, secs = divmod(int(whole), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (secs, "s"))
    return "".join(f"{count}{unit}" for count, unit in parts if count)
