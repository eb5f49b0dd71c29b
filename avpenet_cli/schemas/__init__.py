"""Published JSON Schemas of the files that programs read, generated from the dataclasses that are written.

`python -m avpenet_cli.schemas` writes them again after a change.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, dict[str, Any]]:
    """Every schema by its file name in this package."""
    from pydantic import TypeAdapter

    from avpenet_cli.calibration.site import KIND, SITE_VERSION, SiteCalibration
    from avpenet_cli.experiment.results import RESULTS_VERSION, ExperimentResult
    from avpenet_cli.explanation.record import EXPLAIN_VERSION, ExplainRecord
    from avpenet_cli.monitoring.document import MONITOR_VERSION, MonitorDocument
    from avpenet_cli.ratings.agreement_document import AGREEMENT_VERSION, AgreementDocument
    from avpenet_cli.report.schema import document_schema, report_schema
    from avpenet_cli.runs.history import HISTORY_VERSION, HistoryLine
    from avpenet_cli.runs.log_lines import LOG_VERSION, LogLine
    from avpenet_cli.runs.manifest import Manifest
    from avpenet_cli.runs.status import STATUS_VERSION, OutputStatus
    from avpenet_cli.shards.plan import PLAN_VERSION, ShardPlan
    from avpenet_cli.study.pack import PACK_VERSION, Pack
    from avpenet_cli.verification.nodes import VERIFY_VERSION, Verification
    from avpenet_cli.version import MANIFEST_VERSION

    documents: dict[str, tuple[Any, str]] = {
        "manifest.schema.json": (Manifest, f"avpenet run manifest (*.run.json), version {MANIFEST_VERSION}"),
        "status.schema.json": (OutputStatus, f"avpenet status --json, version {STATUS_VERSION}"),
        "history.schema.json": (HistoryLine, f"a line of a history (*.history.jsonl), version {HISTORY_VERSION}"),
        "verify.schema.json": (Verification, f"avpenet verify --json, version {VERIFY_VERSION}"),
        "log.schema.json": (LogLine, f"a line of avpenet score --log-format json, version {LOG_VERSION}"),
    }
    generated = {
        name: TypeAdapter(kind).json_schema(mode="serialization") | {"title": title}
        for name, (kind, title) in documents.items()
    }
    for line in generated["log.schema.json"]["$defs"].values():
        line["additionalProperties"] = False
        line["required"] = [*line.get("required", []), *(["event"] if "event" in line["properties"] else [])]
    generated["report.schema.json"] = report_schema()
    experiment = document_schema(ExperimentResult, f"avpenet experiment (experiment.json), version {RESULTS_VERSION}")
    experiment["properties"]["version"]["const"] = RESULTS_VERSION
    generated["experiment.schema.json"] = experiment
    explain = document_schema(ExplainRecord, f"avpenet explain (explain.json), version {EXPLAIN_VERSION}")
    explain["properties"]["version"]["const"] = EXPLAIN_VERSION
    generated["explain.schema.json"] = explain
    site = document_schema(SiteCalibration, f"avpenet calibrate (site.json), version {SITE_VERSION}")
    site["properties"]["format_version"]["const"] = SITE_VERSION
    site["properties"]["kind"]["const"] = KIND
    generated["site.schema.json"] = site
    pack = document_schema(Pack, f"avpenet ratings sample (pack.json), version {PACK_VERSION}")
    pack["properties"]["version"]["const"] = PACK_VERSION
    generated["pack.schema.json"] = pack
    agreement = document_schema(
        AgreementDocument, f"avpenet ratings agreement (agreement.json), version {AGREEMENT_VERSION}"
    )
    agreement["properties"]["version"]["const"] = AGREEMENT_VERSION
    generated["agreement.schema.json"] = agreement
    monitor = document_schema(MonitorDocument, f"avpenet monitor (monitor.json), version {MONITOR_VERSION}")
    monitor["properties"]["schema_version"]["const"] = MONITOR_VERSION
    generated["monitor.schema.json"] = monitor
    plan = document_schema(ShardPlan, f"plan of the shards of an output (plan.json), version {PLAN_VERSION}")
    plan["properties"]["plan_version"]["const"] = PLAN_VERSION
    generated["shard_plan.schema.json"] = plan
    return {name: {"$schema": _DIALECT} | schema for name, schema in generated.items()}


def schema_text(name: str) -> str:
    """One schema as its file holds it."""
    return json.dumps(schemas()[name], indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def write_schemas(folder: Path) -> None:
    """Write all schemas into a folder."""
    for name in schemas():
        (folder / name).write_text(schema_text(name), encoding="utf-8")
