"""Draw the scene of a recording and render its frames and audio, before encoding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from avpenet_cli.phantom.behaviour import Motion, draw_motion
from avpenet_cli.phantom.camera.effects import NO_EFFECTS, CameraChoice, CameraEffects, draw_effects
from avpenet_cli.phantom.camera.imaging import apply
from avpenet_cli.phantom.camera.ward import draw_pillow, draw_ward_cover, head_motion_px, ward_view
from avpenet_cli.phantom.face.covers import Cover
from avpenet_cli.phantom.face.people import FaceSource, built_in_faces
from avpenet_cli.phantom.face.renderer import NO_COVER, Frame, Light, View
from avpenet_cli.phantom.head.model import Expression, Look, draw_look
from avpenet_cli.phantom.pain_trajectory import PainTrajectory, draw_pain_trajectory
from avpenet_cli.phantom.parameters.trajectory_params import CameraParams, trajectory_params
from avpenet_cli.phantom.parameters.voice_params import PAIN_RATE_HZ, SAMPLE_RATE_HZ
from avpenet_cli.phantom.room.acoustics import record, site_named
from avpenet_cli.phantom.subjects import Subject
from avpenet_cli.phantom.voice.non_pain_sounds import non_pain_utterances, synthesise_utterances
from avpenet_cli.phantom.voice.pain_voice import pain_utterances, pain_voice
from avpenet_cli.phantom.voice.speaker import Speaker
from avpenet_cli.phantom.voice.utterance import Utterance

SiteCover = Literal["none", "mask", "tube", "hand"]

# Number of precomputed sensor noise fields; each frame uses one of them, shifted.
_NOISE_FIELDS = 6


@dataclass(frozen=True)
class Visitor:
    """Another person who is visible for some time.

    Attributes:
        look: appearance.
        view: position; smaller than the patient and to one side.
        start_s, end_s: when visible.
    """

    look: Look
    view: View
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Scene:
    """A drawn recording, ready to be rendered.

    Attributes:
        subject: the patient.
        trajectory: true pain.
        utterances: vocalisations of pain.
        non_pain: vocalisations that are not pain, such as talk and coughs.
        motion: expressions and head motion.
        view: camera and light; each frame rotates and shifts it.
        cover: object that hides part of the face, within the intervals `covered_s`.
        visitor: another person, or None.
        fps: frames per second.
        noise_levels: standard deviation of the sensor noise, in levels of 255.
        seed: of what is drawn during rendering.
        effects: what the camera of a ward does to the frames, in place of the site's sensor noise.
    """

    subject: Subject
    trajectory: PainTrajectory
    utterances: tuple[Utterance, ...]
    non_pain: tuple[Utterance, ...]
    motion: Motion
    view: View
    cover: Cover
    covered_s: tuple[tuple[float, float], ...]
    visitor: Visitor | None
    fps: float
    noise_levels: float
    seed: int
    effects: CameraEffects = NO_EFFECTS

    @property
    def duration_s(self) -> float:
        """Length of the recording."""
        return len(self.trajectory.pain) / PAIN_RATE_HZ

    def cover_at(self, time_s: float) -> Cover:
        """The object that hides part of the face at a time."""
        covered = any(start_s <= time_s < end_s for start_s, end_s in self.covered_s)
        return self.cover if covered else NO_COVER


def draw_scene(
    subject: Subject,
    duration_s: float,
    seed: int,
    size_px: tuple[int, int] | None = None,
    fps: float | None = None,
    camera_choice: CameraChoice = "site",
) -> Scene:
    """Draw one recording.

    Args:
        subject: the patient.
        duration_s: length of the recording.
        seed: not negative; the same seed, subject, duration, size and rate give the same scene.
        size_px, fps: width and height, and frame rate; None for those of the subject's site.
        camera_choice: the site's camera, or one of a ward, with other light, lenses, positions and tubes; pain, motion
            and audio are the same.
    """
    rng = np.random.default_rng([seed, 1])
    camera = trajectory_params().cameras[subject.site]
    size_px, fps = size_px or camera.size_px, fps or camera.fps
    trajectory = draw_pain_trajectory(duration_s, np.random.default_rng([seed, 2]))
    pain_calls = pain_utterances(subject.vocality, trajectory.pain, seed)
    non_pain = _without_overlap(non_pain_utterances(subject.age_group, duration_s, seed), pain_calls, trajectory)
    motion = draw_motion(subject, trajectory, (*pain_calls, *non_pain), fps, np.random.default_rng([seed, 3]))
    view = _view(camera, size_px, rng)
    cover, covered_s = _cover(duration_s, rng)
    scene = Scene(
        subject=subject,
        trajectory=trajectory,
        utterances=pain_calls,
        non_pain=non_pain,
        motion=motion,
        view=view,
        cover=cover,
        covered_s=covered_s,
        visitor=_visitor(view, duration_s, rng),
        fps=fps,
        noise_levels=float(rng.uniform(*camera.noise_levels)),
        seed=seed,
    )
    return _in_ward(scene) if camera_choice == "ward" else scene


def _in_ward(scene: Scene) -> Scene:
    rng, age_group = np.random.default_rng([scene.seed, 5]), scene.subject.age_group
    effects, kind = draw_effects(rng, age_group), draw_ward_cover(rng, age_group)
    if effects == NO_EFFECTS:
        return scene
    scene = replace(scene, effects=effects, view=ward_view(scene.view, effects, rng))
    if kind == "site":
        return scene
    side: Literal[-1, 1] = 1 if rng.random() < 0.5 else -1
    return replace(scene, cover=Cover(kind, side), covered_s=((0.0, scene.duration_s),))


def _without_overlap(
    non_pain: tuple[Utterance, ...], pain_calls: tuple[Utterance, ...], trajectory: PainTrajectory
) -> tuple[Utterance, ...]:
    """Drop talk and laughter during vocalisations of pain or strong pain."""

    def free(utterance: Utterance) -> bool:
        end_s = utterance.start_s + utterance.length_s
        crying = any(
            other.start_s < end_s and other.start_s + other.length_s > utterance.start_s
            for other in pain_calls
            if other.mouth_open > 0.1
        )
        if crying or utterance.kind in ("cough", "hiccup"):
            return not crying
        # An utterance that starts after the last sample of the trajectory has no pain value.
        has_pain = round(utterance.start_s * PAIN_RATE_HZ) < len(trajectory.pain)
        return has_pain and trajectory.mean_over(utterance.start_s, end_s + 0.2) < 5.0

    return tuple(utterance for utterance in non_pain if free(utterance))


def _view(camera: CameraParams, size_px: tuple[int, int], rng: np.random.Generator) -> View:
    warmth = float(rng.uniform(*camera.warmth))
    return View(
        width_px=size_px[0],
        height_px=size_px[1],
        face_width_px=float(rng.uniform(*camera.face_share)) * size_px[1],
        offset_px=(float(rng.normal(0.0, 0.04)) * size_px[0], float(rng.normal(-0.02, 0.03)) * size_px[1]),
        light=Light(
            azimuth_deg=float(rng.uniform(-60.0, 60.0)),
            elevation_deg=float(rng.uniform(15.0, 65.0)),
            intensity=float(rng.uniform(*camera.intensity)),
            contrast=float(rng.uniform(*camera.contrast)),
            colour=(float(np.sqrt(warmth)), 1.0, float(1.0 / np.sqrt(warmth))),
        ),
    )


def _cover(duration_s: float, rng: np.random.Generator) -> tuple[Cover, tuple[tuple[float, float], ...]]:
    population = trajectory_params().population
    kinds: list[SiteCover] = ["none", "mask", "tube", "hand"]
    kind = kinds[int(rng.choice(len(kinds), p=[population.cover[name] for name in kinds]))]
    side: Literal[-1, 1] = 1 if rng.random() < 0.5 else -1
    if kind == "none":
        return NO_COVER, ()
    if kind != "hand":
        return Cover(kind, side), ((0.0, duration_s),)
    at = (float(rng.uniform(-0.8, 0.8)), float(rng.uniform(-2.4, -0.6)))
    hand = Cover(kind, side, bool(rng.random() < 0.7), at, float(rng.uniform(5.0, 50.0)))
    starts = np.sort(rng.uniform(0.0, duration_s, max(1, rng.poisson(population.hand_per_minute * duration_s / 60.0))))
    return hand, tuple((float(start), float(start + rng.uniform(*population.hand_s))) for start in starts)


def _visitor(view: View, duration_s: float, rng: np.random.Generator) -> Visitor | None:
    population = trajectory_params().population
    if rng.random() >= population.second_person_share:
        return None
    side = 1.0 if rng.random() < 0.5 else -1.0
    look = draw_look("adult", rng)
    start_s = float(rng.uniform(0.0, 0.8 * duration_s))
    return Visitor(
        look,
        replace(
            view,
            face_width_px=view.face_width_px * float(rng.uniform(*population.second_person_size)),
            offset_px=(side * 0.34 * view.width_px, -0.12 * view.height_px),
            yaw_deg=-side * 25.0,
        ),
        start_s,
        start_s + float(rng.uniform(*population.second_person_s)),
    )


def render_frames(scene: Scene, faces: FaceSource) -> Iterator[Frame]:
    """Render the frames of a scene.

    Args:
        scene: what to render.
        faces: source of the patient and, where it has adults, of the visitor.

    Yields:
        (height, width, 3) uint8 RGB, `duration_s * fps` of them.
    """
    rng = np.random.default_rng([scene.seed, 4])
    renderer = faces.renderer(scene.subject.look)
    visitor = scene.visitor
    visitor_renderer = _faces_for(faces, visitor.look).renderer(visitor.look) if visitor else None
    view = scene.view
    backdrop = background(view, rng)
    shape = backdrop.shape
    effects = scene.effects
    if effects.position != "upright":
        draw_pillow(backdrop, view, effects, rng)
    fields = [np.round(rng.normal(0.0, scene.noise_levels, shape)).astype(np.int16) for _ in range(_NOISE_FIELDS)]
    motion = scene.motion
    previous_view: View | None = None
    for index in range(len(motion.units)):
        shift = motion.sway[index] * view.face_width_px
        frame_view = replace(
            view,
            yaw_deg=float(motion.yaw_deg[index]),
            pitch_deg=float(motion.pitch_deg[index]),
            roll_deg=float(motion.roll_deg[index]) + effects.patient_roll_deg,
            offset_px=(view.offset_px[0] + float(shift[0]), view.offset_px[1] + float(shift[1])),
        )
        time_s = (index + 0.5) / scene.fps
        behind = backdrop
        if visitor and visitor_renderer and visitor.start_s <= time_s < visitor.end_s:
            behind = visitor_renderer.frame(Expression(), visitor.view, backdrop)
        image = renderer.frame(motion.expression(index), frame_view, behind, scene.cover_at(time_s))
        if effects != NO_EFFECTS:
            eyes_px = renderer.landmarks_px(motion.expression(index), frame_view)[:2] if effects.infrared else None
            yield apply(image, effects, rng, head_motion_px(previous_view, frame_view), eyes_px)
            previous_view = frame_view
            continue
        noise = np.roll(fields[index % _NOISE_FIELDS], int(rng.integers(shape[0])), axis=0)
        yield np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), dtype=np.uint8)


def _faces_for(faces: FaceSource, look: Look) -> FaceSource:
    """Source of a visitor: the built-in head where `faces` has no adults."""
    return faces if look.age_group in faces.age_groups else built_in_faces()


def background(view: View, rng: np.random.Generator) -> Frame:
    """Blurred background, like a bed or wall: (height, width, 3) uint8 RGB."""
    height, width = view.height_px, view.width_px
    base = rng.uniform(60.0, 190.0) + rng.normal(0.0, 12.0, 3)
    coarse = rng.normal(0.0, 22.0, (6, 8, 1)) + rng.normal(0.0, 5.0, (6, 8, 3))
    cloth = cv2.resize(coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    fine = rng.normal(0.0, 6.0, (height // 4, width // 4, 1)).astype(np.float32)
    weave = cv2.resize(cv2.GaussianBlur(fine, (5, 5), 1.2), (width, height))[:, :, None]
    image = base + cloth + weave
    edge = float(rng.uniform(0.1, 0.9)) * width
    image[:, int(edge) :] *= rng.uniform(0.7, 1.2)
    lit = image * min(1.3, view.light.intensity) * np.array(view.light.colour)
    blurred = cv2.GaussianBlur(lit.astype(np.float32), (9, 9), 3.0)
    return np.asarray(np.clip(blurred, 0, 255), dtype=np.uint8)


def render_audio(scene: Scene, speaker: Speaker | None = None) -> npt.NDArray[np.float32]:
    """Render the audio of a scene.

    Args:
        scene: what to render.
        speaker: the patient's voice, such as a `RecordedSpeaker`; None for the synthetic voice.

    Returns:
        (duration_s * 48000,) float32 in [-1, 1] from the site's microphone.
    """
    vocality, seed = scene.subject.vocality, scene.seed
    near = pain_voice(vocality, scene.trajectory.pain, seed, speaker).astype(np.float64)
    near += synthesise_utterances(scene.non_pain, vocality, scene.duration_s, seed, speaker)
    recording = record(site_named(scene.subject.site), np.clip(near, -1.0, 1.0), scene.seed)
    assert len(recording) == round(scene.duration_s * SAMPLE_RATE_HZ)
    return recording
