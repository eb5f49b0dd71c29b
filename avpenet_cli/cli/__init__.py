"""The command line. Only this room prints, exits, and knows typer and rich."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
import typer.main
from typer.exceptions import TyperException

from avpenet_cli import __version__
from avpenet_cli.cli import bench, doctor, evaluate, phantom, prepare, report, score, train, weights
from avpenet_cli.cli.memory import keep_freed_memory
from avpenet_cli.cli.reporter import printable
from avpenet_cli.errors import AvpenetError, ExitCode

app = typer.Typer(
    name="avpenet",
    help="Score recorded clinical procedures for pain, from face and voice together, offline.\n\n"
    "For research and quality audits of recordings. Not a medical device; not for decisions about a patient.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("score")(score.score)
app.command("report")(report.report)
app.command("prepare")(prepare.prepare)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("bench")(bench.bench)
app.command("doctor")(doctor.doctor)
app.add_typer(weights.app, name="weights")
app.add_typer(phantom.app, name="phantom")


def _print_version(wanted: bool) -> None:
    if wanted:
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
    """The console script: run a command, turn its errors into one line and an exit code."""
    debug = "--debug" in sys.argv
    # Threads that spin while they wait fight the decoder for the cores: 0.70 against 1.02 times real time on two
    # cores (docs/explanation/benchmarks.md). Read once, when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_freed_memory()
    # torch, when loaded, makes a folder for compiled code where temporary files go, and fails where none may. Nothing
    # is compiled here; a folder that exists keeps it from making one.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(__file__).parent))
    # A command that does more with signals sets its own handlers on top.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    # Names may hold bytes that are no characters, and the terminal may know few.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        # Not `app()`, which has exit codes of its own for a broken pipe and for Ctrl-C. A command returns its code.
        command = typer.main.get_command(app)
        with command.make_context("avpenet", sys.argv[1:]) as context:
            code = command.invoke(context)
    except typer.Exit as done:
        code = done.exit_code
    except AvpenetError as error:
        if debug and error.exit_code not in (ExitCode.LOCKED, ExitCode.INTERRUPTED):
            raise
        complain(str(error))
        code = error.exit_code
    except TyperException as error:
        if words := error.format_message():  # none when no arguments were given: then the help has been printed
            complain(f"{words}; see avpenet --help")
        code = ExitCode.USAGE
    except KeyboardInterrupt:
        complain("interrupted")
        code = ExitCode.INTERRUPTED
    except (BrokenPipeError, SystemExit):  # rich makes the one into the other
        # Whoever read our output has gone; Python would complain once more when it flushes at exit.
        for stream in (sys.stdout, sys.stderr):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        code = ExitCode.OK
    except Exception as error:
        if debug:
            raise
        complain(f"internal error ({type(error).__name__}: {error}); --debug shows where, please report it")
        code = ExitCode.SOME_FAILED
    sys.exit(int(code or 0))


def complain(message: str) -> None:
    """One line on stderr, whatever the message holds."""
    with contextlib.suppress(BrokenPipeError):
        print(f"avpenet: {printable(' '.join(message.split()))}", file=sys.stderr, flush=True)
