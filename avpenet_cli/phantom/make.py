"""Make a set of phantoms: recordings, and their true pain in the tables that `avpenet report` reads."""

from __future__ import annotations

import csv
import io
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from avpenet_cli.errors import OutputError, SettingsError
from avpenet_cli.phantom.camera.effects import CameraChoice
from avpenet_cli.phantom.encode import bitrate_options, write_recording
from avpenet_cli.phantom.face.people import FaceSource, built_in_faces, load_faces
from avpenet_cli.phantom.scene import Scene, draw_scene, render_audio, render_frames
from avpenet_cli.phantom.subjects import AgeGroups, Subject, draw_subject
from avpenet_cli.phantom.voice.bank import VoiceBank
from avpenet_cli.phantom.voice.recorded import RecordedSpeaker
from avpenet_cli.phantom.voice.speaker import Speaker
from avpenet_cli.runs.outputs import prepare_output_directory, read_run_file
from avpenet_cli.settings import describe_differences, flatten
from avpenet_cli.storage import atomic_write, write_json
from avpenet_cli.textfiles import parse_json
from avpenet_cli.version import __version__

NOTICE = "PHANTOMS: synthetic patients made by a computer. They commission and demonstrate; they are no evidence."

REQUEST_FILE = "phantoms.json"

# One true value per second; `avpenet report` takes the median over a segment.
_TRUTH_STEP_S = 1.0


@dataclass(frozen=True)
class PhantomRequest:
    """A set of phantoms to make; the same request gives the same scenes.

    Attributes:
        subjects: number of subjects.
        seed: of everything drawn, not negative.
        minutes: length of each recording.
        recordings: number of recordings of each subject.
        age_groups: neonate, adult or both.
        head_file: head meshes or photographs to load in place of the built-in head; see `load_faces`.
        voices: folders of recorded voices, which `VoiceBank` reads; without them voices are synthetic.
        size_px, fps: width and height, and frame rate; None for those of each site's camera.
        suffix: of the recordings, which chooses the container.
        encoding: ffmpeg's output options, which override H.264 and AAC.
        camera: each site's camera, or cameras of wards: infrared and low light, phototherapy, motion blur, distortion,
            300 kbit/s, patients on their side, tubes and CPAP.
    """

    subjects: int
    seed: int
    minutes: float = 1.0
    recordings: int = 1
    age_groups: AgeGroups = "both"
    head_file: Path | None = None
    voices: tuple[Path, ...] = ()
    size_px: tuple[int, int] | None = None
    fps: float | None = None
    suffix: str = ".mp4"
    encoding: tuple[str, ...] = ()
    camera: CameraChoice = "site"


@dataclass(frozen=True)
class _Task:
    request: PhantomRequest
    subject: Subject
    recording: int
    path: Path

    def scene(self) -> Scene:
        """The scene, seeded by subject and recording, so that it does not depend on how many others there are."""
        request = self.request
        number = int(self.subject.name[1:])
        seed = request.seed * 1_000_003 + number * 1009 + self.recording
        return draw_scene(self.subject, request.minutes * 60.0, seed, request.size_px, request.fps, request.camera)


def make_phantoms(
    request: PhantomRequest, out: Path, jobs: int = 1, on_recording: Callable[[str], None] = lambda name: None
) -> dict[str, int]:
    """Make recordings, `truth.csv`, `subjects.csv`, `events.csv` and `phantoms.json` in `out`.

    Existing recordings are kept when `phantoms.json` has the same request, so that an interrupted run resumes. Each
    recording is written atomically.

    Args:
        request: what to make.
        out: output folder, created when missing; its parent must exist.
        jobs: number of processes.
        on_recording: called with each recording's name once it exists.

    Returns:
        Numbers of recordings made and kept, under the keys `made` and `kept`.

    Raises:
        OutputError: `out` has other files, or phantoms of another request.
        SettingsError: the head file or a folder of voices cannot be used.
        EnvironmentUnavailableError: ffmpeg failed, or there is no space left.
    """
    record = _request_record(request)
    _check_sources(request)
    _prepare_directory(out, record)
    tasks = _tasks(request, out)
    _write_tables(out, tasks)
    missing = [task for task in tasks if not task.path.exists()]
    for task in tasks:
        if task.path.exists():
            on_recording(task.path.name)
    for name in _in_processes(missing, jobs):
        on_recording(name)
    return {"made": len(missing), "kept": len(tasks) - len(missing)}


def scenes(folder: Path) -> dict[str, Scene]:
    """Redraw the scenes of a set of phantoms from its `phantoms.json`.

    Args:
        folder: written by `make_phantoms` of this version.

    Returns:
        Mapping of a recording's name to its scene.

    Raises:
        SettingsError: the folder has no phantoms, or phantoms of another version, whose scenes may differ.
    """
    request_file = folder / REQUEST_FILE
    try:
        record = parse_json(request_file.read_text(encoding="utf-8"))
        version, fields = record["avpenet"], record["order"]
        request = PhantomRequest(**fields | {"head_file": None, "voices": (), "encoding": tuple(fields["encoding"])})
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise SettingsError(
            f"{request_file}: not a set of phantoms ({type(error).__name__})", "see `avpenet phantom make`"
        ) from None
    if version != __version__:
        raise SettingsError(
            f"{request_file}: made by avpenet {version}, this is {__version__}", "make the phantoms again"
        )
    if request.size_px is not None:
        request = replace(request, size_px=(request.size_px[0], request.size_px[1]))
    return {task.path.name: task.scene() for task in _tasks(request, folder)}


def _check_sources(request: PhantomRequest) -> None:
    """Read what the faces and voices come from, before anything is written."""
    groups = ("neonate", "adult") if request.age_groups == "both" else (request.age_groups,)
    faces = _faces(request.head_file)
    if not set(groups) & set(faces.age_groups):
        raise SettingsError(f"{request.head_file} has no {groups[0]}s", "choose another --age-group or --head-model")
    if request.voices:
        _voice_bank(request.voices)


def _tasks(request: PhantomRequest, out: Path) -> list[_Task]:
    subjects = [draw_subject(number, request.seed, request.age_groups) for number in range(request.subjects)]
    return [
        _Task(request, subject, recording, out / f"{subject.name}-{recording + 1:02d}{request.suffix}")
        for subject in subjects
        for recording in range(request.recordings)
    ]


def _in_processes(tasks: Sequence[_Task], jobs: int) -> Iterator[str]:
    if jobs <= 1 or len(tasks) <= 1:
        yield from map(_render, tasks)
        return
    # Spawned, not forked, since this process may have threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(tasks)), mp_context=context) as pool:
        try:
            yield from pool.map(_render, tasks)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _render(task: _Task) -> str:
    faces = _faces(task.request.head_file)
    if task.subject.age_group not in faces.age_groups:
        faces = built_in_faces()
    scene = task.scene()
    # Under a temporary name until complete; the suffix stays, because ffmpeg chooses the container by it.
    partial = task.path.with_name(f".{task.path.stem}.partial{task.path.suffix}")
    size_px = (scene.view.width_px, scene.view.height_px)
    audio = render_audio(scene, _speaker(task))
    try:
        options = (*task.request.encoding, *bitrate_options(scene.effects.bitrate_kbits))
        write_recording(partial, render_frames(scene, faces), size_px, scene.fps, audio, options)
        partial.chmod(0o600)
        partial.replace(task.path)
    finally:
        partial.unlink(missing_ok=True)
    return task.path.name


@cache
def _faces(path: Path | None) -> FaceSource:
    # Read once in each process, since reading takes longer than a short recording.
    return load_faces(path) if path else built_in_faces()


@cache
def _voice_bank(folders: tuple[Path, ...]) -> VoiceBank:
    return VoiceBank(folders)


def _speaker(task: _Task) -> Speaker | None:
    """The subject's recorded voice; None where none is given or none fits the age group."""
    request, subject = task.request, task.subject
    if not request.voices:
        return None
    bank, number = _voice_bank(request.voices), int(subject.name[1:]) - 1
    voice = bank.voice_of(number, subject.age_group, subject.sex, request.seed)
    return RecordedSpeaker(voice, subject.vocality) if voice else None


def _request_record(request: PhantomRequest) -> dict[str, Any]:
    fields = asdict(request) | {
        "head_file": request.head_file.resolve().name if request.head_file else "built in",
        "voices": [folder.resolve().name for folder in request.voices] or "synthetic",
    }
    return {"notice": NOTICE, "avpenet": __version__, "order": {k: _json_ready(v) for k, v in fields.items()}}


def _json_ready(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _prepare_directory(out: Path, record: dict[str, Any]) -> None:
    """Create the folder, or check that its phantoms are of the same request."""
    path = out / REQUEST_FILE
    # Without a request file, nothing in the folder is known to be a phantom; with it, scores beside them do no harm.
    started = path.exists()
    prepare_output_directory(out, lambda name: started)
    remedy = "choose another --out, or remove it first"
    existing = read_run_file(path, remedy)
    if existing is None:
        write_json(path, record)
        return
    differences = describe_differences(flatten(existing), flatten(record))
    if differences:
        raise OutputError(f"{out} holds other phantoms: {differences}", remedy)


def _write_tables(out: Path, tasks: Sequence[_Task]) -> None:
    truth, subjects, events = [], [], []
    ward = any(task.request.camera == "ward" for task in tasks)
    for task in tasks:
        subject, name, scene = task.subject, task.path.name, task.scene()
        seconds = scene.duration_s
        for start in range(int(seconds // _TRUTH_STEP_S)):
            pain = scene.trajectory.mean_over(start, start + _TRUTH_STEP_S)
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
                scene.trajectory.kind,
                *((scene.effects.light, scene.effects.position) if ward else ()),
            ]
        )
        events += [[name, f"{event.time_s:.1f}", event.label] for event in scene.trajectory.events]
    _write(out / "truth.csv", ["recording", "start_s", "end_s", "value", "scale", "rater"], truth)
    columns = ["recording", "subject", "age_group", "site", "sex", "skin_tone", "cover", "course"]
    columns += ["light", "position"] if ward else []
    _write(out / "subjects.csv", columns, subjects)
    _write(out / "events.csv", ["recording", "time_s", "label"], events)


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())
