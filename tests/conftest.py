"""Shared fixtures: real clips, the real program in a separate process or in this one, and reference data if present."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn, Protocol

import numpy as np
import pytest

from avpenet_cli.model import initialise
from avpenet_cli.weights.description import UNTRAINED_SEED
from tests.support.made_once import make_once
from tests.support.portraits import CRY, MOAN, SAMPLE_RATE_HZ, Frame, Waveform, portrait_frames, utter, write_recording
from tests.support.preloaded_program import PreloadedProgram, preloaded_program
from tests.support.program_here import program_here

if TYPE_CHECKING:
    from torch import Tensor, nn

# As in the program: threads that spin while waiting slow down everything on few cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

REPOSITORY = Path(__file__).resolve().parents[1]

_LONGEST_S = 1800.0
"""Far more than any test takes on a busy machine."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files with slow tests first, so that no worker is left alone with a long one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """A test that would wait for ever, such as for a process that says nothing, fails where it waits."""
    signal.signal(signal.SIGALRM, _fail_hung_test)
    signal.setitimer(signal.ITIMER_REAL, _LONGEST_S, _LONGEST_S)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)


_CPU_TIME = "CPU time before and after, s"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """With what each test costs, in CPU seconds of this process and of those that it has waited for."""
    item.user_properties.append((_CPU_TIME, sum(os.times()[:4])))
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """As `pytest_runtest_setup`."""
    try:
        return (yield)
    finally:
        item.user_properties.append((_CPU_TIME, sum(os.times()[:4])))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """With `--durations N`, the N files that cost most: CPU time does not depend on what else the machine does."""
    n_files: int | None = config.getoption("durations")
    if not n_files:
        return
    by_file: defaultdict[str, float] = defaultdict(float)
    for report in (report for reports in terminalreporter.stats.values() for report in reports):
        if isinstance(report, pytest.TestReport) and report.when == "teardown":
            times_s = [float(str(value)) for name, value in report.user_properties if name == _CPU_TIME]
            by_file[report.nodeid.partition("::")[0]] += times_s[-1] - times_s[0]
    terminalreporter.section(f"{sum(by_file.values()):.0f} s of CPU time; {n_files} files that cost most")
    for name in sorted(by_file, key=by_file.__getitem__, reverse=True)[:n_files]:
        terminalreporter.write_line(f"{by_file[name]:8.1f}s {name}")


def _fail_hung_test(number: int, frame: FrameType | None) -> NoReturn:
    pytest.fail(f"not finished after {_LONGEST_S:g} s")


@pytest.fixture(scope="session", autouse=True)
def _not_in_the_background() -> Iterator[None]:
    """A suite started with nohup, or with & by a script, hands its deafness to SIGHUP or SIGINT down to every run."""
    hangup = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGHUP, hangup)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


_UMASK = _umask()


@pytest.fixture(autouse=True)
def _umask_kept() -> Iterator[None]:
    """A umask that a test or a fixture leaves behind changes the files of later tests."""
    yield
    left = os.umask(_UMASK)
    assert left == _UMASK, f"umask {left:#o} was left, for {_UMASK:#o}"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real clips and reference outputs beside the repository."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the real clips in {folder}")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _untrained_weights_drawn_once() -> Iterator[None]:
    """The parameters of the untrained weights, which many tests score with, take most of a second to draw."""
    draw = initialise.seeded_state
    drawn: dict[tuple[object, ...], dict[str, Tensor]] = {}

    def seeded_state(network: nn.Module, seed: int, names: Collection[str] | None = None) -> dict[str, Tensor]:
        if seed != UNTRAINED_SEED or names is not None:
            return draw(network, seed, names)
        key = type(network), *((name, tensor.shape) for name, tensor in network.state_dict().items())
        if key not in drawn:
            drawn.clear()
            drawn[key] = draw(network, seed)
        return {name: tensor.clone() for name, tensor in drawn[key].items()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(initialise, "seeded_state", seeded_state)
        yield


@pytest.fixture(scope="session", autouse=True)
def _parser_and_templates_made_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        make_once(patch)
        yield


def _voice(audio: str | None, seconds: float) -> Waveform | None:
    if audio is None:
        return None
    if audio == "silence":
        return np.zeros(round(seconds * SAMPLE_RATE_HZ))
    return utter({"cry": CRY, "moan": MOAN}[audio], seconds, seed=1)


class ClipMaker:
    """Makes short recordings with ffmpeg; the same arguments give the same file, made once per session.

    A test that alters a clip copies it first.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, arguments: object, suffix: str) -> Path:
        return self.folder / (hashlib.sha256(repr(arguments).encode()).hexdigest()[:12] + suffix)

    def face(
        self,
        seconds: float = 6.0,
        size: str = "480x360",
        fps: float = 25.0,
        audio: str | None = "cry",
        rotate_deg: int = 0,
        away_s: tuple[float, float] | None = None,
        suffix: str = ".mp4",
        extra: Sequence[str] = (),
    ) -> Path:
        """One frontal face, about half as high as the frame, moving slightly.

        Args:
            seconds: length of both streams.
            size: of the upright frame, `WIDTHxHEIGHT`.
            fps: frames per second, constant.
            audio: "cry", "moan", "silence" (digital), or None for no audio stream.
            rotate_deg: clockwise rotation of the pixels (90, 180, 270), without metadata; at 90
                and 270 the file is as wide as `size` is high.
            away_s: interval without a face in view; it moves out and in within 0.4 s before and after.
            suffix: of the file, which chooses the container.
            extra: output options for ffmpeg, which override H.264, AAC and yuv420p.
        """
        arguments = ("face", seconds, size, fps, audio, rotate_deg, away_s, suffix, tuple(extra))
        path = self._path(arguments, suffix)
        if not path.exists():
            width_px, height_px = (int(side) for side in size.split("x"))
            upright = portrait_frames(seconds, width_px, height_px, fps, away_s)
            frames: Iterator[Frame] = (np.rot90(frame, -(rotate_deg // 90)) for frame in upright)
            write_recording(path, frames, fps, _voice(audio, seconds), ["-preset", "ultrafast", *extra])
        return path

    def brief(self, audio: str = "cry", seconds: float = 1.6) -> Path:
        """The shortest recording that is scored: one padded window, a face in five frames, then no video."""
        video, voice = self.face(0.5, "160x120", 10.0, None), self.face(seconds, "160x120", 10.0, audio)
        return self.ffmpeg("-i", str(video), "-i", str(voice), "-map", "0:v", "-map", "1:a", "-c", "copy")

    def ffmpeg(self, *arguments: str, suffix: str = ".mp4") -> Path:
        """Output of `ffmpeg ARGUMENTS... FILE`, e.g. of `-f lavfi -i testsrc2=d=2` or another clip."""
        path = self._path(("ffmpeg", arguments), suffix)
        if not path.exists():
            made = subprocess.run(
                ["ffmpeg", "-v", "error", "-nostdin", "-y", *arguments, str(path)], capture_output=True, text=True
            )
            assert made.returncode == 0, made.stderr
        return path


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipMaker:
    """Short recordings, made on first use."""
    return ClipMaker(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a simulated study: two score tables, ratings, subjects and events; a test that alters one copies it."""
    from examples.make_study import make_study

    folder = tmp_path_factory.mktemp("a study")
    make_study(folder, recordings=40, seed=3)
    return folder


class RunAvpenet(Protocol):
    """Type of the fixture `run_avpenet`."""

    def __call__(
        self,
        args: Sequence[str | Path],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = 120.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run `avpenet ARGS...` to its end.

        Args:
            args: after the program's name.
            env: added to this process's environment.
            cwd: working folder, the repository by default.
            timeout: seconds until the test fails.
        """
        ...


@pytest.fixture(scope="session")
def run_avpenet() -> RunAvpenet:
    """Run the program in a separate process, with empty standard input."""

    def run(
        args: Sequence[str | Path],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = 120.0,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "avpenet_cli", *map(str, args)],
            env={**os.environ, **(env or {})},
            cwd=cwd or REPOSITORY,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PreloadedProgram]:
    """The program for commands of a shell, in a separate process each."""
    with preloaded_program(tmp_path_factory.mktemp("program")) as program:
        yield program


@dataclass(frozen=True)
class Answer:
    """Result of a command: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        """The last line on standard error."""
        return self.err.splitlines()[-1]


@pytest.fixture(scope="session")
def avpenet_here() -> Callable[..., Answer]:
    """Run `avpenet ARGS...` within this process, which saves loading the libraries each time."""

    def run(*args: str | Path) -> Answer:
        code, out, err = program_here(*args)
        assert isinstance(code, int)
        return Answer(code, out, err)

    return run
