"""A FHIR R4 bundle (HL7, http://hl7.org/fhir/R4): the scores of each recording, what made them, and how.

One Observation for each recording, one Device (program and weights), one Provenance, and the CodeSystem of the local
codes: a score by software is no pain severity that a patient reported, so no LOINC code of that is used. Bundle and
Observations have the security label AIAST, "Artificial Intelligence asserted" (HL7 v3 ObservationValue); where the
weights are not for patients, everything but the codes has HTEST, "test health data" (v3 ActReason).
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from avpenet_cli.export.handover import HandedRecording, Handover
from avpenet_cli.keys import tidy
from avpenet_cli.phrasing import printable

Resource = dict[str, Any]

_NAMESPACE = uuid.UUID("6d0f4f5e-6f0e-5a57-9a58-0f6f0c1f2b16")
"""Of the identifiers made here: a fixed random number."""
_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem/"
_UCUM = "http://unitsofmeasure.org"
_NOT_A_DEVICE = "avpenet is not a medical device. Nobody may be treated, or left untreated, because of this score."
_CODES = {
    "pain-score": "Pain score of a recording, from face and voice by software",
    "mean-score": "Mean score of the recording's scored segments as the network gives it, not calibrated, 0 to 10",
    "peak-score": "Highest score of the recording's segments as the network gives it, not calibrated, 0 to 10",
    "share-high": "Share of the scored segments whose score, not calibrated, is high",
    "segments": "Segments of the recording",
    "scored-segments": "Segments with a score",
    "mean-calibrated": "Mean calibrated score of the segments that have one, 0 to 10",
    "calibrated-segments": "Segments with a calibrated score",
    "abstained-segments": "Segments with a score, but evidence too poor for a calibrated one",
}
_DECIMALS = 3


def _urn(name: str) -> str:
    return f"urn:uuid:{uuid.uuid5(_NAMESPACE, name)}"


CODE_SYSTEM = _urn("code system of pain scores")
"""URI of the local codes."""
RECORDING_SYSTEM = _urn("identifiers: recordings")
SUBJECT_SYSTEM = _urn("identifiers: subjects")
DIGEST_SYSTEM = _urn("identifiers: SHA-256")


def fhir_bundle(handover: Handover) -> Resource:
    """The bundle: a transaction of updates under identifiers that follow from weights and recording (its name, and its
    digest where that is known), so that a second import replaces the first, and no other recording of the same name.

    Returns:
        JSON types; the same for the same table.
    """
    weights = handover.weights
    calibration = "" if handover.calibration is None else handover.calibration.digest
    device_id = _identifier("device", weights.digest, handover.program_version, calibration)
    observations = [_observation(row, handover, device_id) for row in handover.recordings]
    resources = [_code_system(), _device(handover, device_id), *observations]
    resources.append(_provenance(handover, device_id, [row["id"] for row in observations]))
    return {
        "resourceType": "Bundle",
        "id": _identifier("bundle", handover.source.sha256, handover.source.manifest_sha256),
        **_labels(handover, by_ai=True),
        "type": "transaction",
        "timestamp": _instant(handover.finished),
        "entry": [
            {
                "fullUrl": f"urn:uuid:{resource['id']}",
                "resource": resource,
                "request": {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"},
            }
            for resource in resources
        ],
    }


def _labels(handover: Handover, *, by_ai: bool = False) -> Resource:
    """The element `meta` with the security labels; nothing without any."""
    labels = [_coding("v3-ObservationValue", "AIAST", "Artificial Intelligence asserted")] if by_ai else []
    if handover.for_testing_only:
        labels.append(_coding("v3-ActReason", "HTEST", "test health data"))
    return {"meta": {"security": labels}} if labels else {}


def _observation(row: HandedRecording, handover: Handover, device_id: str) -> Resource:
    scores = row.scores
    absent = _absent(bool(scores.failure), row.reason or "not stated")
    # How many segments a recording has is not known where it could not be read.
    segments, scored = (None, None) if scores.failure else (scores.segments, scores.scored)
    components = [
        _component("mean-score", scores.mean, "{score}", "points of 0 to 10", absent),
        _component("peak-score", scores.peak, "{score}", "points of 0 to 10", absent),
        _component("share-high", scores.share_high, "1", "share", absent),
        _component("segments", segments, "{count}", "segments", absent),
        _component("scored-segments", scored, "{count}", "segments", absent),
    ]
    if row.calibrated is not None:
        calibrated = row.calibrated
        unanswered = absent if not scores.scored else _absent(False, "no segment has a calibrated score")
        components += [
            _component("mean-calibrated", calibrated.mean, "{score}", "points of 0 to 10", unanswered),
            _component("calibrated-segments", calibrated.answered, "{count}", "segments", absent),
            _component("abstained-segments", calibrated.abstained, "{count}", "segments", absent),
        ]
    observation: Resource = {
        "resourceType": "Observation",
        "id": _identifier("observation", handover.weights.digest, scores.recording, row.file_sha256),
        **_labels(handover, by_ai=True),
        "identifier": [{"system": RECORDING_SYSTEM, "value": _text(scores.recording)}],
        # Nobody has verified it; without a score, there was no measurement.
        "status": "preliminary" if scores.scored else "cancelled",
        "code": _local("pain-score"),
    }
    if row.subject is not None:
        identifier = {"system": SUBJECT_SYSTEM, "value": _text(row.subject)}
        observation["subject"] = {"type": "Patient", "identifier": identifier}
    if row.recorded_at:
        observation["effectiveDateTime"] = _date_time(row.recorded_at)
    observation["issued"] = _instant(handover.finished)
    if not scores.scored:
        observation["dataAbsentReason"] = absent
    # Most viewers show notes and no security labels.
    notes = ["TEST DATA." if handover.for_testing_only else "", handover.notice, _NOT_A_DEVICE]
    observation["note"] = [{"text": _text(text)} for text in notes if text]
    observation["device"] = _reference(device_id)
    observation["component"] = components
    return observation


def _component(code: str, value: float | None, unit_code: str, unit: str, absent: Resource) -> Resource:
    component: Resource = {"code": _local(code)}
    if value is None:
        return component | {"dataAbsentReason": absent}
    number = value if isinstance(value, int) else round(value, _DECIMALS) + 0.0
    return component | {"valueQuantity": {"value": number, "unit": unit, "system": _UCUM, "code": unit_code}}


def _absent(failed: bool, reason: str) -> Resource:
    code, display = ("error", "Error") if failed else ("not-performed", "Not Performed")
    return {"coding": [_coding("data-absent-reason", code, display)], "text": _text(reason)}


def _device(handover: Handover, device_id: str) -> Resource:
    weights = handover.weights
    uses = {"Intended use": weights.intended_use, "Not intended": weights.not_intended_use}
    notes = [f"{name}: {text}" for name, text in uses.items() if text]
    versions = {"software": handover.program_version, "weights": weights.name, "weights-sha256": weights.digest}
    if handover.calibration is not None:
        versions["calibration-digest"] = handover.calibration.digest
    device: Resource = {
        "resourceType": "Device",
        "id": device_id,
        **_labels(handover),
        "identifier": [{"system": DIGEST_SYSTEM, "value": weights.digest}],
        "status": "active",
        "deviceName": [{"name": f"avpenet with weights {_text(weights.name)}", "type": "model-name"}],
        "type": {"text": "software that scores recordings for pain"},
        "version": [{"type": {"text": name}, "value": _text(text)} for name, text in versions.items() if text],
    }
    status = weights.status or "not stated"
    high = {"value": weights.cut_points[1], "unit": "points of 0 to 10", "system": _UCUM, "code": "{score}"}
    device["property"] = [
        {"type": {"text": "status of the weights"}, "valueCode": [{"text": _text(status)}]},
        {"type": {"text": "a score above this is high"}, "valueQuantity": [high]},
    ]
    device["note"] = [{"text": _text(text)} for text in [handover.notice, _NOT_A_DEVICE, *notes] if text]
    return device


def _provenance(handover: Handover, device_id: str, observations: list[str]) -> Resource:
    source = handover.source
    # Without the files' names, which may hold a patient's.
    files = (("score table", source.sha256), ("its run manifest", source.manifest_sha256))
    assembler = _coding("provenance-participant-type", "assembler", "Assembler")
    return {
        "resourceType": "Provenance",
        "id": _identifier("provenance", source.sha256, source.manifest_sha256),
        **_labels(handover),
        "target": [_reference(name) for name in observations],
        "recorded": _instant(handover.finished),
        "activity": {"text": "recordings scored by software, without a person"},
        "agent": [{"type": {"coding": [assembler]}, "who": _reference(device_id)}],
        "entity": [
            {
                "role": "source",
                "what": {"identifier": {"system": DIGEST_SYSTEM, "value": digest}, "display": _text(name)},
            }
            for name, digest in files
        ],
    }


def _code_system() -> Resource:
    """The local codes: the same for patients and for test data, and so without a label."""
    return {
        "resourceType": "CodeSystem",
        "id": _identifier("code system"),
        "url": CODE_SYSTEM,
        "name": "AvpenetPainScores",
        "title": "Local codes of avpenet's pain scores",
        "status": "active",
        "content": "complete",
        "concept": [{"code": code, "display": display} for code, display in _CODES.items()],
    }


def _local(code: str) -> Resource:
    return {"coding": [{"system": CODE_SYSTEM, "code": code, "display": _CODES[code]}], "text": _CODES[code]}


def _coding(system: str, code: str, display: str) -> Resource:
    return {"system": _TERMINOLOGY + system, "code": code, "display": display}


def _reference(identifier: str) -> Resource:
    return {"reference": f"urn:uuid:{identifier}"}


def _identifier(*parts: str) -> str:
    """An identifier that follows from its parts, bytes of names that are not text included."""
    content = "\0".join(parts).encode("utf-8", "surrogateescape")
    return str(uuid.uuid5(_NAMESPACE, content.hex()))


def _text(text: str) -> str:
    """Text as FHIR's `string` allows it: no control characters, no white space around it, not empty."""
    return tidy(printable(text)) or "not stated"


def _instant(text: str) -> str:
    """A time with its offset, to the second."""
    return datetime.fromisoformat(text).isoformat(timespec="seconds")


def _date_time(text: str) -> str:
    """A time as FHIR's `dateTime`, which has an offset or ends with the day."""
    time = datetime.fromisoformat(text)
    return time.date().isoformat() if time.tzinfo is None else time.isoformat(timespec="seconds")
