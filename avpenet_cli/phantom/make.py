"""A whole set of phantoms: recordings, and the truth about them in the tables that `avpenet report` reads."""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from avpenet_cli.errors import OutputError, SettingsError
from avpenet_cli.phantom.encode import write_recording
from avpenet_cli.phantom.scene import Scene, draw_scene, frames, sound
from avpenet_cli.phantom.subjects import AgeGroups, Subject, draw_subject
from avpenet_cli.storage import atomic_write, write_json
from avpenet_cli.version import __version__

NOTICE = "PHANTOMS: synthetic patients made by a computer. They commission and demonstrate; they are no evidence."

# Truth is given for every second: `avpenet report` takes the median over a segment.
_TRUTH_STEP_S = 1.0


@dataclass(frozen=True)
class PhantomOrder:
    """What to make; the same order gives the same scenes.

    Attributes:
        subjects: number of them.
        seed: not negative.
        minutes: length of each recording.
        recordings: of each subject.
        age_groups: neonate, adult or both.
        head_file: meshes to load instead of the built-in head.
        size_px, fps: None for those of each site's camera.
        suffix: of the recordings, and with it the container.
        encoding: options for ffmpeg, after H.264 and AAC, so that they win.
    """

    subjects: int
    seed: int
    minutes: float = 1.0
    recordings: int = 1
    age_groups: AgeGroups = "both"
    head_file: Path | None = None
    size_px: tuple[int, int] | None = None
    fps: float | None = None
    suffix: str = ".mp4"
    encoding: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Task:
    order: PhantomOrder
    subject: Subject
    recording: int
    path: Path

    def scene(self) -> Scene:
        """Seeded by the subject and the recording, so that neither depends on how many others there are."""
        order = self.order
        number = int(self.subject.name[1:])
        seed = order.seed * 1_000_003 + number * 1009 + self.recording
        return draw_scene(self.subject, order.minutes * 60.0, seed, order.size_px, order.fps)


def make_phantoms(
    order: PhantomOrder, out: Path, jobs: int = 1, made: Callable[[str], None] = lambda name: None
) -> dict[str, int]:
    """Write recordings, `truth.csv`, `subjects.csv`, `events.csv` and `phantoms.json` into `out`.

    A recording that is there already is kept when `phantoms.json` says that the order is the same, so that an
    interrupted order goes on; each recording appears whole.

    Args:
        out: a folder, made when absent.
        jobs: processes.
        made: called with each recording's name when it is there.

    Returns:
        how many recordings were made and kept.

    Raises:
        OutputError: `out` holds something else, or phantoms of another order.
        SettingsError: the head file cannot be used.
        EnvironmentUnavailableError: ffmpeg failed, or no space.
    """
    described = _described(order)
    _claim(out, described)
    tasks = _tasks(order, out)
    _write_tables(out, tasks)
    waiting = [task for task in tasks if not task.path.exists()]
    for task in tasks:
        if task.path.exists():
            made(task.path.name)
    for name in _in_processes(waiting, jobs):
        made(name)
    return {"made": len(waiting), "kept": len(tasks) - len(waiting)}


def scenes(folder: Path) -> dict[str, Scene]:
    """The scenes of a set of phantoms, drawn again from its `phantoms.json`: name of the recording to scene.

    Args:
        folder: one that `make_phantoms` of this version wrote.

    Raises:
        SettingsError: no such folder, or one of another version, whose scenes may have been others.
    """
    note = folder / "phantoms.json"
    try:
        described = json.loads(note.read_text(encoding="utf-8"))
        version, plain = described["avpenet"], described["order"]
        order = PhantomOrder(**plain | {"head_file": None, "encoding": tuple(plain["encoding"])})
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise SettingsError(
            f"{note}: not a set of phantoms ({type(error).__name__})", "see `avpenet phantom make`"
        ) from None
    if version != __version__:
        raise SettingsError(f"{note}: made by avpenet {version}, this is {__version__}", "make the phantoms again")
    if order.size_px is not None:
        order = replace(order, size_px=(order.size_px[0], order.size_px[1]))
    return {task.path.name: task.scene() for task in _tasks(order, folder)}


def _tasks(order: PhantomOrder, out: Path) -> list[_Task]:
    cast = [draw_subject(number, order.seed, order.age_groups) for number in range(order.subjects)]
    return [
        _Task(order, subject, recording, out / f"{subject.name}-{recording + 1:02d}{order.suffix}")
        for subject in cast
        for recording in range(order.recordings)
    ]


def _in_processes(tasks: Sequence[_Task], jobs: int) -> Iterator[str]:
    if jobs <= 1 or len(tasks) <= 1:
        yield from map(_render, tasks)
        return
    # Spawned, not forked: this process may have threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(tasks)), mp_context=context) as pool:
        try:
            yield from pool.map(_render, tasks)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _render(task: _Task) -> str:
    from avpenet_cli.phantom.head.built_in import built_in_head
    from avpenet_cli.phantom.head.loading import load_head

    head = load_head(task.order.head_file) if task.order.head_file else built_in_head()
    if task.subject.age_group not in head.age_groups:
        head = built_in_head()
    scene = task.scene()
    # Under another name until it is whole; the suffix stays, because ffmpeg goes by it.
    partial = task.path.with_name(f".{task.path.stem}.partial{task.path.suffix}")
    size_px = (scene.view.width_px, scene.view.height_px)
    try:
        write_recording(partial, frames(scene, head), size_px, scene.fps, sound(scene), task.order.encoding)
        partial.replace(task.path)
    finally:
        partial.unlink(missing_ok=True)
    return task.path.name


def _described(order: PhantomOrder) -> dict[str, Any]:
    plain = asdict(order) | {"head_file": order.head_file.name if order.head_file else "built in"}
    return {"notice": NOTICE, "avpenet": __version__, "order": {k: _plain(v) for k, v in plain.items()}}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _claim(out: Path, described: dict[str, Any]) -> None:
    note = out / "phantoms.json"
    if note.exists():
        try:
            there = json.loads(note.read_text(encoding="utf-8"))
        except ValueError:
            there = None
        if there != described:
            raise OutputError(f"{out} holds phantoms of another order", "give another --out, or remove it first")
        return
    if out.exists() and any(out.iterdir()):
        raise OutputError(f"{out} is not empty", "give another --out")
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_json(note, described)


def _write_tables(out: Path, tasks: Sequence[_Task]) -> None:
    truth, subjects, events = [], [], []
    for task in tasks:
        subject, name, scene = task.subject, task.path.name, task.scene()
        seconds = scene.duration_s
        for start in range(int(seconds // _TRUTH_STEP_S)):
            pain = scene.course.mean_over(start, start + _TRUTH_STEP_S)
            truth.append([name, f"{start:.1f}", f"{start + _TRUTH_STEP_S:.1f}", f"{pain:.3f}", "NRS", "truth"])
        subjects.append(
            [
                name,
                subject.name,
                subject.age_group,
                subject.site,
                subject.sex,
                subject.tone_group,
                scene.cover.kind,
                scene.course.kind,
            ]
        )
        events += [[name, f"{event.time_s:.1f}", event.label] for event in scene.course.events]
    _write(out / "truth.csv", ["recording", "start_s", "end_s", "value", "scale", "rater"], truth)
    columns = ["recording", "subject", "age_group", "site", "sex", "skin_tone", "cover", "course"]
    _write(out / "subjects.csv", columns, subjects)
    _write(out / "events.csv", ["recording", "time_s", "label"], events)


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())
