"""This file is `pcg doctor`: the road from this appliance to its console, examined step by step and told in words."""

import asyncio
import sys
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

import typer
from pydantic import BaseModel
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.appliance.doctor import subject
from gateway.appliance.doctor.examination import Examination, Patience, Result
from gateway.appliance.doctor.findings import Check, Verdict
from gateway.appliance.doctor.subject import Subject
from gateway.appliance.settings import ApplianceSettings
from gateway.cli import address
from gateway.cli.arguments import InputInvalidError
from gateway.cli.exits import BY_REMEDY, Exit
from gateway.cli.options import OutputOption, told
from gateway.cli.plain import plain
from gateway.cli.tables import Output, screen
from gateway.identity import tokens
from gateway.kit import secretfile
from gateway.kit.clock import SystemClock
from gateway.kit.logs import without_secrets

COLOURS = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAILED: "red", Verdict.SKIPPED: "dim"}


class Report(BaseModel):
    """The whole examination, as programs get it. `verdict` is the worst of the checks."""

    console: str
    proxy: str | None
    nested: bool
    verdict: Verdict
    checks: list[Result]


def doctor(
    console: Annotated[str | None, typer.Option("--console", help="console to try the road to, if not paired")] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="registration token that names the console, if not paired")
    ] = None,
    state: Annotated[
        Path | None, typer.Option("--state", help="directory of the appliance's state", show_default=False)
    ] = None,
    hold: Annotated[
        float, typer.Option("--hold", min=0.1, max=600, metavar="SECONDS", help="how long a connection is left quiet")
    ] = 90.0,
    skip_hold: Annotated[bool, typer.Option("--skip-hold", help="do not try how long a quiet one lives")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Examine the road from this appliance to its console; the running appliance is not disturbed."""
    with told(output):
        examined = _subject(
            console, token_file, ApplianceSettings() if state is None else ApplianceSettings(state=state)
        )
        report = asyncio.run(_examined(examined, Patience(hold=0.0 if skip_hold else hold), output))
    if output is Output.JSON:
        sys.stdout.write(without_secrets(report.model_dump_json(indent=2, ensure_ascii=True)) + "\n")
    raise typer.Exit(int(exit_code(report.checks)))


def exit_code(results: list[Result]) -> Exit:
    """Return what `pcg doctor` ends with: the code of whoever can mend the first failure, 0 without one."""
    failed = [one for one in results if one.verdict is Verdict.FAILED]
    return BY_REMEDY[failed[0].who] if failed else Exit.OK


def worst(results: list[Result]) -> Verdict:
    """Return the worst verdict; what was skipped counts as nothing."""
    found = {one.verdict for one in results}
    return next((one for one in (Verdict.FAILED, Verdict.WARNING) if one in found), Verdict.OK)


def _subject(console: str | None, token_file: Path | None, settings: ApplianceSettings) -> Subject:
    if console is not None and token_file is not None:
        raise InputInvalidError("give --console or --token-file, not both: a token names its console")
    if token_file is not None:
        token = tokens.parse(secretfile.read(token_file))
        return subject.unpaired(settings, token.url, token)
    if console is not None:
        return subject.unpaired(settings, address.checked(console))
    return subject.paired(settings)


async def _examined(examined: Subject, patience: Patience, output: Output) -> Report:
    examination = Examination(examined, SystemClock(), patience)
    with _picture(output, examined) as picture:
        results = await examination.run(began=picture.began, told=picture.told)
    return Report(
        console=examined.console,
        proxy=str(examined.proxy) if examined.proxy else None,
        nested=examination.nested,
        verdict=worst(results),
        checks=results,
    )


def _picture(output: Output, examined: Subject) -> "Silent":
    if output is Output.JSON:
        return Silent()
    through = f" through {examined.proxy}" if examined.proxy else ""
    screen().print(Text(plain(f"The road to {examined.console}{through}")))
    return Rows() if sys.stdout.isatty() else Lines()


class Silent:
    """Shows nothing while it lasts: programs get one document at the end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _fault: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Nothing is open."""

    def began(self, check: Check) -> None:
        """Take note that a check begins."""

    def told(self, result: Result) -> None:
        """Take note of what a check came to."""


class Lines(Silent):
    """A line for each check, as it ends, and the remedy below where there is one."""

    def told(self, result: Result) -> None:
        """Write the lines of a check."""
        screen().print(Text("\n".join(lines(result))))
        sys.stdout.flush()


class Rows(Silent):
    """A table that grows while it is watched, with the check that is being done now at its end."""

    def __init__(self) -> None:
        self._results: list[Result] = []
        self._doing = ""
        self._live = Live(self._table(), console=screen(), auto_refresh=False, transient=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _fault: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._doing = ""
        self._live.update(self._table(), refresh=True)
        self._live.stop()

    def began(self, check: Check) -> None:
        """Show which check is being done."""
        self._doing = str(check)
        self._live.update(self._table(), refresh=True)

    def told(self, result: Result) -> None:
        """Show one more row."""
        self._results.append(result)
        self._doing = ""
        self._live.update(self._table(), refresh=True)

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("CHECK", "VERDICT", "SECONDS", "WHAT WAS SEEN"):
            table.add_column(
                column, no_wrap=column != "WHAT WAS SEEN", justify="right" if column == "SECONDS" else "left"
            )
        for one in self._results:
            verdict = Text(str(one.verdict), style=COLOURS[one.verdict])
            table.add_row(Text(str(one.check)), verdict, Text(f"{one.seconds:.1f}"), Text("\n".join(_words(one))))
        if self._doing:
            table.add_row(Text(self._doing), Text("…", style="bold"), Text(), Text())
        return table


def lines(result: Result) -> list[str]:
    """Return what is written of a check where there is no terminal; everything from elsewhere is made harmless."""
    first, *more = _words(result)
    return [f"{result.check:<12} {result.verdict:<8} {result.seconds:7.1f} s  {first}", *(f"    {one}" for one in more)]


def _words(result: Result) -> list[str]:
    seen = f" ({result.seen})" if result.seen else ""
    said = [f"{result.cause}{seen}"]
    if result.remedy and result.verdict is not Verdict.OK:
        said.append(f"what to do: {result.remedy} [{result.finding}]")
    return [without_secrets(plain(one)) for one in said]
