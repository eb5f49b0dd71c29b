"""Recordings scored by actors of a real Ray cluster on the loopback address; Ray never starts in the tests' process."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from avpenet_cli.errors import EnvironmentUnavailableError, ExitCode
from avpenet_cli.inputs import collect
from avpenet_cli.scoring.lanes.ray_lanes import RayCluster
from avpenet_cli.scoring.request import ScoreRequest
from avpenet_cli.scoring.run import score_recordings
from avpenet_cli.settings import RunSettings
from avpenet_cli.weights import default_entry
from tests.conftest import REPOSITORY, Answer, ClipMaker
from tests.support.processes import descendants, listening_addresses

SURNAME = "Meyerbeer"
_TABLES = ("scores.csv", "scores.recordings.csv")
_RUN = RunSettings(device="cpu")


class Nodes:
    """One or two nodes in processes of their own, whose files lie in a short folder; see `tests.support.ray_nodes`."""

    def __init__(self, folder: str, count: int, token: str | None) -> None:
        mode = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token} if token else {"RAY_AUTH_MODE": "disabled"}
        self.folder = Path(folder)
        self.environment = {**os.environ, **mode, "HOME": folder, "RAY_TMPDIR": folder, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.ray_nodes", str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=REPOSITORY,
            env=self.environment,
        )
        self.address = self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def tell(self, word: str) -> str:
        """What the nodes answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        return self._line()

    def close(self) -> None:
        """End all."""
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate(timeout=600)


@contextlib.contextmanager
def running_nodes(count: int, token: str | None) -> Iterator[Nodes]:
    """Nodes with token authentication, or without where there is no token."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        nodes = Nodes(folder, count, token)
        try:
            assert nodes.address.startswith("127.0.0.1:")
            yield nodes
        finally:
            nodes.close()


@pytest.fixture(scope="module")
def recordings(clips: ClipMaker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a patient's name, of recordings of different lengths; one is none."""
    folder = tmp_path_factory.mktemp("share") / SURNAME
    folder.mkdir()
    for number in range(5):
        shutil.copyfile(clips.brief("cry", 3.0 + number), folder / f"{SURNAME}-{number}.mp4")
    (folder / f"{SURNAME}-broken.mp4").write_bytes(b"no recording")
    return folder


def _key(folder: Path) -> Path:
    path = folder / "key"
    path.write_text("a key of at least thirty-two characters, as the program asks for")
    path.chmod(0o600)
    return path


def _score_here(recordings: Path, out: Path, key: Path | None) -> None:
    """An ordinary run of this machine, in this process."""
    out.parent.mkdir()
    inputs = collect([str(recordings)], None, False, key)
    list(score_recordings(ScoreRequest(inputs, out, default_entry(), _RUN, pseudonymised=key is not None)))


def _submit(nodes: Nodes, recordings: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    command = ["submit", "--engine", "ray", "--address", nodes.address, "--", "score", str(recordings), "--device=cpu"]
    return subprocess.Popen(
        [sys.executable, "-m", "avpenet_cli", *command, "--out", str(out), *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=out.parent,
        env={**nodes.environment, "PYTHONPATH": str(REPOSITORY)},
    )


def _lines_until(run: subprocess.Popen[str], part: str) -> str:
    """The log up to a line with this part."""
    assert run.stderr is not None
    lines = ""
    for line in run.stderr:
        lines += line
        if part in line:
            return lines
    raise AssertionError(lines)


@pytest.mark.slow
def test_tables_are_those_of_one_machine_after_an_interruption_and_the_loss_of_a_node(
    recordings: Path, tmp_path: Path
) -> None:
    """To the byte; and no log or record of the cluster holds a name or a path of a recording."""
    key = _key(tmp_path)
    _score_here(recordings, tmp_path / "here" / "scores.csv", key)
    out = tmp_path / "there" / "scores.csv"
    out.parent.mkdir()
    options = ("--pseudonymise", str(key))
    with running_nodes(2, secrets.token_hex(16)) as nodes:
        with _submit(nodes, recordings, out, *options) as first:
            log = _lines_until(first, "1 segment")
            first.send_signal(signal.SIGINT)
            log += first.communicate()[1]
        assert first.returncode == ExitCode.INTERRUPTED, log
        assert not out.exists()
        with _submit(nodes, recordings, out, *options, "--verbose") as second:
            for _ in range(2):
                log += _lines_until(second, "has loaded the networks")
            assert nodes.tell("kill") == "killed"
            log += second.communicate()[1]
        assert second.returncode == ExitCode.SOME_FAILED, log
        assert "scored by an earlier run" in log
        assert "another one takes it" in log
        jobs = nodes.tell("jobs")
        assert 'entrypoint: "avpenet"' in jobs
        logs = [path for path in nodes.folder.rglob("*") if path.is_file()]
        assert len(logs) > 10
        kept = [*(path.read_bytes() for path in logs), jobs.encode(), log.encode()]
        assert not any(SURNAME.encode() in text or os.fsencode(tmp_path) in text for text in kept)
    for name in _TABLES:
        assert (out.parent / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


@pytest.mark.slow
def test_a_cluster_that_asks_for_no_token_is_refused(
    recordings: Path, tmp_path: Path, avpenet_here: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, which does not get as far as starting Ray."""
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 32)
    with running_nodes(1, None) as nodes:
        command = ["submit", "--engine", "ray", "--address", nodes.address, "--", "score", recordings, "--device=cpu"]
        for mode, complaint in (("token", "asks for no token"), ("disabled", "RAY_AUTH_MODE is not token")):
            monkeypatch.setenv("RAY_AUTH_MODE", mode)
            answer = avpenet_here(*command, "--out", tmp_path / "scores.csv")
            assert answer.code == ExitCode.USAGE
            assert complaint in answer.last_line


@pytest.mark.slow
def test_a_cluster_of_this_host_alone_listens_on_the_loopback_address_and_leaves_nothing(
    recordings: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    out = tmp_path / "scores.csv"
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as temporary:
        command = ["submit", "--engine", "ray", "--address", "local", "--actors", "1", "--"]
        command += ["score", f"{SURNAME}-0.mp4", f"{SURNAME}-broken.mp4", "--out", str(out)]
        with subprocess.Popen(
            [sys.executable, "-m", "avpenet_cli", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=recordings,
            env={
                **os.environ,
                **{"HOME": str(home), "TMPDIR": temporary, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
            },
        ) as run:
            _lines_until(run, "scoring 2 recordings")
            assert [path.stat().st_mode & 0o777 for path in Path(temporary).glob("avpenet-ray-*")] == [0o700]
            listening = listening_addresses([run.pid, *descendants(run.pid)])
            printed, _ = run.communicate()
        assert list(Path(temporary).iterdir()) == []
    assert listening == {"127.0.0.1"}
    assert (run.returncode, printed) == (ExitCode.SOME_FAILED, "")
    assert list(home.iterdir()) == []
    assert [row.split(",")[0] for row in out.read_text().splitlines()[1:]] == [f"{SURNAME}-0.mp4"]


def test_a_node_that_does_not_start_in_time_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def time_out(**_: object) -> None:
        raise Exception("The current node timed out\nduring startup.")  # as it is in ray._private.node

    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_USAGE_STATS_ENABLED", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"):
        monkeypatch.setenv(name, "token")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("ray.init", time_out)
    with pytest.raises(EnvironmentUnavailableError, match="Ray at local: The current node timed out during startup"):
        RayCluster("local")
    assert list(tmp_path.iterdir()) == []


def test_ray_is_imported_only_for_its_engine() -> None:
    code = "import sys, avpenet_cli.cli, avpenet_cli.scoring.run; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ([], "--engine ray without --address"),
        (["--address", "local", "--array", "4"], "--array is not for --engine ray"),
        (["--address", "local", "--dry-run"], "--dry-run is not for --engine ray"),
    ],
)
def test_options_of_other_engines_are_refused(
    avpenet_here: Callable[..., Answer], options: list[str], complaint: str
) -> None:
    answer = avpenet_here("submit", "--engine", "ray", *options, "--", "score", "x.mp4", "--out", "scores.csv")
    assert answer.code == ExitCode.USAGE
    assert complaint in answer.last_line
