"""A recording and weights -> figures and a page that explain chosen segments: the entry point of `avpenet explain`."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from avpenet_cli.errors import EnvironmentUnavailableError, RecordingError
from avpenet_cli.explanation.attention import attention_and_tokens
from avpenet_cli.explanation.explained import ExplainedSegment, Explanation, SegmentInputs
from avpenet_cli.explanation.faces import FaceStyle
from avpenet_cli.explanation.facts import facts
from avpenet_cli.explanation.figure import Heading, draw_segment, write_segment
from avpenet_cli.explanation.map_settings import MapSettings
from avpenet_cli.explanation.outputs import EXPLAIN_FILE, PAGE_FILE, digests, explanation_folder
from avpenet_cli.explanation.page import write_page
from avpenet_cli.explanation.record import SegmentExplanation, explain_record, segment_record
from avpenet_cli.explanation.recording import read_inputs
from avpenet_cli.explanation.saliency import saliency
from avpenet_cli.explanation.sanity import check
from avpenet_cli.explanation.scorer import SegmentNetwork, beside_others
from avpenet_cli.explanation.selection import Chosen, Selection, choose, why_unscored
from avpenet_cli.explanation.shares import modality_shares, quiet_segments
from avpenet_cli.media.probe import check_file
from avpenet_cli.phrasing import counted, plural
from avpenet_cli.records import RecordingOutcome, SegmentScore
from avpenet_cli.report.figures.style import Figure
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.device import choose_device, device_name
from avpenet_cli.runs.history import read_file, record_run, refuse_unusable_history
from avpenet_cli.runs.manifest import weights_mark
from avpenet_cli.runs.versions import software_versions
from avpenet_cli.scoring.network import Network, SegmentTokens
from avpenet_cli.scoring.scorer import Scorer
from avpenet_cli.settings import RunSettings, read_settings
from avpenet_cli.stats.estimate import to_json
from avpenet_cli.storage import write_json
from avpenet_cli.weights import WeightsEntry, load_network

AGREEMENT = 0.002
"""Points by which the differentiable network's score may differ from the scored one: scores have three decimals, and
the scoring network is folded and fused."""

_STEPS = 3


@dataclass(frozen=True)
class ExplainRequest:
    """The request for one explanation.

    Attributes:
        recording: a regular file.
        weights: from `weights.find` or `weights.default_entry`.
        out: folder to write to: new, empty, or with `overwrite` an earlier explanation.
        selection: the segments to explain.
        faces: how faces are drawn. Where they are not `shown`, no file has the recording's name.
        stride_s: from one segment to the next, s, as for scoring.
        seed: of the checks.
        device: auto, cpu, cuda or cuda:N.
        maps: how maps and checks are computed.
        overwrite: replace the explanation in `out`.
        command: that was given, for the history; without folders.
    """

    recording: Path
    weights: WeightsEntry
    out: Path
    selection: Selection = field(default_factory=Selection)
    faces: FaceStyle = "shown"
    stride_s: float = 3.0
    seed: int = 42
    device: str = "auto"
    maps: MapSettings = field(default_factory=MapSettings)
    overwrite: bool = False
    command: str = ""


def explain(request: ExplainRequest, callbacks: RunCallbacks = NO_CALLBACKS) -> Explanation:
    """Score a recording, choose segments, and write a figure for each, a page and a record.

    Returns:
        What is on the page; the arrays of its segments are dropped once their figures are drawn.

    Raises:
        RecordingError: it cannot be read, or none of the chosen segments has a score.
        SettingsError: a segment or a time that the recording does not have; settings out of range.
        OutputError: `out` contains other files, or an explanation without `overwrite`.
        OutputLockedError: another run writes to it.
        WeightsError: weights that are altered.
        EnvironmentUnavailableError: the device or ffmpeg is missing, the disk is full, or the network computes another
            score than scoring.
        Interrupted: the callbacks asked for it; nothing is kept.
    """
    try:
        return _explain(request, callbacks)
    except RecordingError as error:
        raise RecordingError(error.code, f"{request.recording}: {error.message}", error.remedy) from error


def _explain(request: ExplainRequest, callbacks: RunCallbacks) -> Explanation:
    started = datetime.datetime.now(datetime.UTC)
    check_file(request.recording)
    refuse_unusable_history(request.out / EXPLAIN_FILE)
    options = {"stride_s": request.stride_s, "device": request.device, "seed": request.seed}
    run = read_settings(RunSettings, None, options)
    choose_device(run.device)
    with explanation_folder(request.out, request.overwrite) as folder:
        callbacks.set_total(_STEPS)
        description = request.weights.description
        scoring = Network(request.weights, run, callbacks)
        callbacks.info(f"scoring with {description.name} on {device_name(scoring.device)}")
        callbacks.item_started("scoring")
        outcome, tokens_of = Scorer(scoring, run, callbacks, with_times=False).score_with_tokens(request.recording)
        callbacks.item_done()
        chosen = choose(outcome.segments, request.selection)
        _require_scores(chosen, outcome)
        callbacks.info(f"{plural(len(outcome.segments), 'segment')}; explaining {chosen.description}")
        callbacks.item_started("reading again")
        inputs = read_inputs(request.recording, scoring, run, chosen.records, callbacks)
        callbacks.item_done()
        network = load_network(request.weights).to(scoring.device)
        explainer = _Explainer(
            request,
            SegmentNetwork(network, description.preprocessing.face, check_stop=callbacks.check_stop),
            outcome.segments,
            tokens_of,
            folder,
            callbacks,
        )
        explanation = Explanation(
            recording=request.recording.name if request.faces == "shown" else "the recording",
            weights=weights_mark(description),
            status=description.status,
            network=description.network,
            chosen=chosen.description,
            scores=outcome.segments,
            segments=(),
            unexplained=chosen.unexplained,
            quiet=(),
            settings={
                "stride_s": request.stride_s,
                "seed": request.seed,
                "device": device_name(scoring.device),
                "threads": torch.get_num_threads(),
                "maps": dataclasses.asdict(request.maps),
            },
            software=software_versions(),
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            notices=tuple(text for text in (description.notice, outcome.message) if text),
            faces=request.faces,
        )
        explanation, records, figures = explainer.explain(explanation, inputs)
        write_page(folder / PAGE_FILE, explanation, figures)
        record = explain_record(explanation, records, digests(folder))
        write_json(folder / EXPLAIN_FILE, to_json(record))
        callbacks.item_done()
    _record_run(request, explanation, started)
    return explanation


def _record_run(request: ExplainRequest, explanation: Explanation, started: datetime.datetime) -> None:
    recording = read_file("recording", request.recording)
    if request.faces != "shown":
        recording = dataclasses.replace(recording, file="")
    out = request.out / EXPLAIN_FILE
    figures = [path for path in sorted(request.out.iterdir()) if path.name.startswith("segment-")]
    written = [out, request.out / PAGE_FILE, *figures]
    record_run(out, "explain", written=written, read=[recording], command=request.command, started=started)


def _require_scores(chosen: Chosen, outcome: RecordingOutcome) -> None:
    if chosen.records:
        return
    if chosen.unexplained:
        segment, reason = chosen.unexplained[0]
        more = f", nor has any other that was chosen ({len(chosen.unexplained)})" if len(chosen.unexplained) > 1 else ""
        raise RecordingError("unscorable", f"segment {segment} has no score: {reason}{more}", "choose others")
    if not outcome.segments:
        raise RecordingError("unscorable", "the recording is too short for a segment", "")
    words = sorted({why_unscored(record) for record in outcome.segments})
    raise RecordingError(
        "unscorable", f"none of {counted(len(outcome.segments), 'segment')} has a score: {'; '.join(words)}", ""
    )


class _Explainer:
    """Explains the segments of one recording, one after the other.

    Args:
        network: independent of other segments.
        records: all segments of the recording.
        tokens_of: encoder outputs of a segment by its number.
        folder: for the figures.
    """

    def __init__(
        self,
        request: ExplainRequest,
        network: SegmentNetwork,
        records: Sequence[SegmentScore],
        tokens_of: Callable[[int], SegmentTokens],
        folder: Path,
        callbacks: RunCallbacks,
    ) -> None:
        self._request, self._records, self._tokens_of = request, records, tokens_of
        self._folder, self._callbacks = folder, callbacks
        self._network_of = beside_others(network, records, tokens_of)

    def explain(
        self, explanation: Explanation, inputs: list[SegmentInputs]
    ) -> tuple[Explanation, tuple[SegmentExplanation, ...], dict[int, Figure]]:
        """Explain each segment and write its figures; its arrays are dropped before the next one.

        Args:
            explanation: without segments as yet.
            inputs: of the segments; emptied.

        Returns:
            The explanation with its segments, their records, and their figures for the page.
        """
        self._callbacks.item_started("explaining")
        total = len(inputs)
        segments, records, figures, quiet = [], [], {}, set[int]()
        audio = self._request.weights.description.preprocessing.audio
        heading = Heading(explanation.recording, explanation.weights, explanation.status, audio)
        for number in range(total):
            self._callbacks.check_stop()
            self._callbacks.progress(number, total)
            # Once is enough to see whether the same computation gives the same map.
            maps = dataclasses.replace(self._request.maps, repeated=self._request.maps.repeated and not number)
            segment, compared = self._segment(inputs.pop(0), maps)
            quiet |= set(compared)
            drawn = draw_segment(segment, heading, self._request.faces)
            figures[drawn.segment] = drawn.figure
            files = write_segment(self._folder, drawn)
            records.append(segment_record(segment, tuple(path.name for path in files)))
            segments.append(_without_arrays(segment))
        self._callbacks.progress(total, total)
        done = dataclasses.replace(explanation, segments=tuple(segments), quiet=tuple(sorted(quiet)))
        return done, tuple(records), figures

    def _segment(self, inputs: SegmentInputs, settings: MapSettings) -> tuple[ExplainedSegment, tuple[int, ...]]:
        network = self._network_of(inputs.record.segment)
        attended, tokens = attention_and_tokens(network, inputs)
        with torch.no_grad():
            _check_agreement(inputs.record, float(network.score(*tokens)))
        quiet = quiet_segments(self._records, inputs.record)
        maps = saliency(network, inputs, tokens, attended, settings)
        checks, curves = check(network, inputs, tokens, maps, settings, self._request.seed)
        shares = modality_shares(network, tokens, quiet, self._tokens_of)
        drawn = inputs
        if inputs.crops.dtype != np.uint8:
            drawn = dataclasses.replace(inputs, crops=inputs.crops.round().astype(np.uint8))
        segment = ExplainedSegment(drawn, attended, maps, shares, facts(drawn), checks, curves)
        return segment, tuple(record.segment for record in quiet) if shares.n_quiet else ()


def _check_agreement(record: SegmentScore, score: float) -> None:
    assert record.score is not None
    # Not `>`, which NaN would pass.
    if not abs(score - record.score) <= AGREEMENT:
        raise EnvironmentUnavailableError(
            f"segment {record.segment} has the score {record.score:.3f}, but the network to explain computes "
            f"{score:.3f} from the same inputs",
            "explain it on another --device, or report it",
        )


def _without_arrays(segment: ExplainedSegment) -> ExplainedSegment:
    """The segment without what takes memory; weights of attention stay."""
    inputs = dataclasses.replace(segment.inputs, mel=None, waveform=None, crops=segment.inputs.crops[:0].copy())
    return dataclasses.replace(
        segment,
        inputs=inputs,
        attention=dataclasses.replace(segment.attention, spatial=None),
        saliency=dataclasses.replace(segment.saliency, audio=None, faces=None),
    )
