"""One shard of a store's recordings -> their segment files, and a record from which the store can be finished.

Every shard writes into the store's own folder: a segment file has one name, whichever run makes it. The index and
`store.json` need all recordings, so `dataset.merging` writes them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from avpenet_cli.dataset.annotations import read_annotations
from avpenet_cli.dataset.prepare import PreparedRecording, Preparer
from avpenet_cli.dataset.record import STORE_FILE, read_store_file
from avpenet_cli.dataset.run import (
    PrepareRequest,
    make_store_folders,
    phantom_notice,
    prepare_recordings,
    report_inputs,
    start_store,
)
from avpenet_cli.dataset.segment_files import SEGMENT_FILES_FOLDER
from avpenet_cli.dataset.shard_records import (
    SHARD_RECORD_VERSION,
    ShardRecord,
    ShardRecording,
    shard_record_path,
    store_path,
)
from avpenet_cli.errors import OutputLockedError
from avpenet_cli.inputs import Recording, collect
from avpenet_cli.phrasing import plural
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.device import choose_device
from avpenet_cli.runs.guard import require_inputs
from avpenet_cli.runs.lock import lock_holder, output_lock
from avpenet_cli.settings import to_dict
from avpenet_cli.shards.plan import PlanRequest, plan_shards
from avpenet_cli.shards.shard import Shard, shard_output
from avpenet_cli.storage import storage_fault, temporary_prefix, write_json


def prepare_shard(
    request: PrepareRequest, shard: Shard, callbacks: RunCallbacks = NO_CALLBACKS
) -> tuple[PreparedRecording, ...]:
    """Prepare the recordings of one shard; a run that was interrupted or killed resumes, as `prepare_dataset`.

    The tables are read and checked as for the whole store, but only its merge uses them.

    Args:
        request: for the whole store.
        shard: the part to prepare; it may have no recordings.

    Returns:
        The shard's recordings, in input order, failed ones included.

    Raises:
        OutputError: as `prepare_dataset`, or the shards are divided otherwise.
        OutputLockedError: another run prepares this shard, or writes the whole store.
        AvpenetError: as `prepare_dataset`.
    """
    settings, out = request.settings, store_path(request.out)
    inputs = collect(request.recordings, None, request.recursive, None)
    require_inputs(inputs)
    annotations = read_annotations(request.ratings, request.subjects, inputs.recordings, settings.split, settings.seed)
    device = choose_device(settings.device)
    files = out / SEGMENT_FILES_FOLDER
    make_store_folders(out, files)
    plan = plan_shards(
        PlanRequest(
            out, shard.count, inputs, settings.store_fingerprint_fields, settings.decoding, prune=request.prune
        ),
        callbacks,
    )
    keys = plan.keys_of(shard)
    part = [recording for recording in inputs.recordings if recording.key in keys]
    callbacks.set_total(len(part))
    with output_lock(shard_output(out, shard), callbacks) as lease:
        # A run over the whole store looks at the locks of its shards in turn, after taking the store's.
        if holder := lock_holder(out / STORE_FILE):
            raise OutputLockedError(f"{out} is being written by {holder}", "wait for it, or choose another --out")
        start_store(out, read_store_file(out), settings.store_fingerprint_fields)
        report_inputs(inputs, annotations, callbacks)
        callbacks.info(f"preparing {plural(len(part), 'recording')} on {device}: shard {shard}")
        started = ShardRecord(
            SHARD_RECORD_VERSION,
            shard.number,
            shard.count,
            False,
            to_dict(settings),
            os.path.abspath(request.ratings),  # noqa: PTH100  (keeps links)
            os.path.abspath(request.subjects),  # noqa: PTH100
            phantom_notice(part),
        )
        write_json(shard_record_path(out, shard), asdict(started))
        preparer = Preparer(settings, files, callbacks)
        _remove_temporary_files(files, part, preparer)
        prepared = tuple(prepare_recordings(part, preparer, callbacks))
        lease.check()
        finished = replace(started, finished=True, recordings=tuple(map(ShardRecording.of, prepared)))
        write_json(shard_record_path(out, shard), asdict(finished))
    return prepared


def _remove_temporary_files(files: Path, recordings: Sequence[Recording], preparer: Preparer) -> None:
    """Remove what a killed run of this shard left behind; the other shards are writing in the same folder."""
    try:
        leftovers = list(files.glob(".*.tmp"))
        if not leftovers:
            return
        own = set()
        for recording in recordings:
            with contextlib.suppress(OSError, ValueError):
                own.add(temporary_prefix(preparer.segment_file_path(recording, recording.path.stat())))
        for path in leftovers:
            if f"{path.name.rsplit('.', 2)[0]}." in own:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise storage_fault(files, error) from None
