"""The command line: the only package that prints, exits, and imports typer and rich."""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer
import typer.main

from avpenet_cli.cli import (
    bench,
    calibrate,
    doctor,
    evaluate,
    experiment,
    explain,
    export,
    merge,
    monitor,
    phantom,
    prepare,
    ratings,
    report,
    score,
    status,
    submit,
    train,
    trajectory,
    verify,
    weights,
)
from avpenet_cli.cli.grouped_help import GroupedHelp
from avpenet_cli.cli.run_end import formatted_traceback, run_end
from avpenet_cli.cli.run_log import discard_output, json_line, last_message
from avpenet_cli.errors import ExitCode
from avpenet_cli.runs.memory import keep_freed_memory
from avpenet_cli.runs.private_process import keep_private
from avpenet_cli.runs.temporary import remove_leftovers
from avpenet_cli.version import __version__

app = typer.Typer(
    name="avpenet",
    cls=GroupedHelp,
    help="Score recorded clinical procedures for pain, from face and voice together, offline.\n\n"
    "For research and quality audits of recordings. Not a medical device; not for decisions about a patient.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Plain help: markup would swallow the `[default: ...]` of options whose default comes from the settings.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# For whom each command is, in the order of the help; each with one line there.
_COMMANDS: dict[str, tuple[tuple[str, Callable[..., int] | typer.Typer, str], ...]] = {
    "Score": (
        ("score", score.score, "Score recordings: one row for every 3-second segment."),
        ("submit", submit.submit, "Score in parts, as jobs of a cluster or of this machine."),
        ("merge", merge.merge, "Put the shards of a table or a store together."),
        ("status", status.status, "Show what is done, failed and still to do; also during a run."),
        ("trajectory", trajectory.trajectory, "Show scores over time: changes, states, ratings, events, alerts."),
        ("explain", explain.explain, "Show what the network used for the scores of some segments."),
    ),
    "Audit": (
        ("ratings", ratings.app, "Draw samples for raters, import ratings, measure agreement."),
        ("report", report.report, "Compare scores with human ratings, on a page to sign."),
        ("verify", verify.verify, "Check digests and histories from outputs back to their inputs."),
    ),
    "Site": (
        ("calibrate", calibrate.calibrate, "Fit scores to a site's ratings, with intervals for new patients."),
        ("monitor", monitor.monitor, "Say what changed since a baseline; exit 4 on an alarm."),
        ("export", export.export, "Hand scores on to a patient record (FHIR) or to REDCap."),
        ("weights", weights.app, "List, verify, install, import and pack weights."),
        ("phantom", phantom.app, "Make synthetic patients; check the installation with them."),
        ("bench", bench.bench, "Measure how fast this machine scores."),
        ("doctor", doctor.doctor, "Check that everything needed is installed."),
    ),
    "Research": (
        ("prepare", prepare.prepare, "Make a segment store of recordings and ratings, to train on."),
        ("train", train.train, "Train a network on a segment store."),
        ("evaluate", evaluate.evaluate, "Evaluate weights on a segment store."),
        ("experiment", experiment.experiment, "Compare systems, ablations and robustness on a segment store."),
    ),
}
for _group, _commands in _COMMANDS.items():
    for _name, _command, _line in _commands:
        if isinstance(_command, typer.Typer):
            app.add_typer(_command, name=_name, short_help=_line, rich_help_panel=_group)
        else:
            app.command(_name, short_help=_line, rich_help_panel=_group)(_command)


def _print_version(requested: bool) -> None:
    if requested:
        print(f"avpenet {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options before any command."""


def main() -> None:
    """Run a command and turn its errors into one line on stderr and an exit code; the console script."""
    if os.environ.get("_AVPENET_COMPLETE"):  # a shell asks what could stand at the cursor
        from avpenet_cli.cli.completion import answer_shell

        sys.exit(answer_shell(app))
    # Threads that spin while they wait take cores from the decoder. Read once, when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_freed_memory()
    keep_private()
    remove_leftovers()
    # On import, torch creates a folder for compiled code among the temporary files and fails where it cannot. Nothing
    # is compiled here; naming a folder that exists keeps it from creating one.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(__file__).parent))
    # A command that finishes its work in progress sets its own handlers. Under nohup SIGHUP is ignored, and stays so.
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    heeded = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    for number in heeded:
        signal.signal(number, signal.default_int_handler)
    # File names may hold bytes that are not text, and the terminal's encoding may be limited.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        # Not `app()`, which has its own exit codes for a broken pipe and Ctrl-C. A command returns its exit code.
        command = typer.main.get_command(app)
        with command.make_context("avpenet", sys.argv[1:]) as context:
            code = command.invoke(context)
    except typer.Exit as exit_request:
        code = exit_request.exit_code
    except (BrokenPipeError, SystemExit):  # rich makes the one into the other
        # The reader of a pipe has gone; Python would report it again when it flushes at exit.
        for stream in (sys.stdout, sys.stderr):
            discard_output(stream)
        code = ExitCode.OK
    except (Exception, KeyboardInterrupt) as error:
        code = _print_end(error, sys.argv[1:])
    status = int(code or 0)
    # The status stands, and no traceback follows: a signal ends the wait for threads and worker processes, and is
    # ignored while libraries clean up, where Python would restore its default and die of it.
    for number in heeded:
        signal.signal(number, lambda number, frame: os._exit(status))
    atexit.register(_ignore, heeded)
    # The system takes back all memory at once; Python would first look for unused objects, most of a second with torch.
    atexit.register(gc.freeze)
    sys.exit(status)


def _ignore(numbers: Sequence[signal.Signals]) -> None:
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


def _print_end(error: BaseException, arguments: Sequence[str]) -> ExitCode:
    """Print an error that no run has logged, whatever it contains, in the log format that was asked for."""
    end = run_end(error)
    if not end.message:
        return end.exit_code
    trace = formatted_traceback(error) if "--debug" in arguments and end.has_traceback else ""
    if " --log-format json " in f" {' '.join(arguments)} ".replace("--log-format=", "--log-format "):
        facts = {"event": "error", "exit_code": int(end.exit_code), "remedy": end.remedy}
        traced = {"event": "traceback", "traceback": trace}
        lines = [json_line("error", type(error).__name__, traced)] if trace else []
        lines.append(json_line("error", end.message, facts))
    else:
        lines = [trace, last_message(end.message)]
    with contextlib.suppress(BrokenPipeError):
        print("\n".join(filter(None, lines)), file=sys.stderr, flush=True)
    return end.exit_code
