"""How many workers a run takes, and what it may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from avpenet_cli.errors import SettingsError
from avpenet_cli.runs.resources import available_memory_bytes, usable_cores
from avpenet_cli.scoring.lanes.worker_count import LANE_BYTES, WORKER_BYTES, WorkerPlan, plan_workers
from avpenet_cli.settings import RunSettings, from_dict, result_settings

CPU = torch.device("cpu")
PLENTY = 1 << 50


def test_auto_takes_a_worker_with_a_thread_for_each_core() -> None:
    for cores in (2, 16, 64):
        assert plan_workers("auto", 1000, CPU, cores, PLENTY) == WorkerPlan(cores, 1)


def test_auto_takes_no_more_workers_than_recordings_and_shares_the_cores_among_them() -> None:
    assert plan_workers("auto", 4, CPU, 16, PLENTY) == WorkerPlan(4, 4)
    assert plan_workers("auto", 1, CPU, 16, PLENTY) == WorkerPlan(1)
    assert plan_workers("auto", 0, CPU, 16, PLENTY) == WorkerPlan(1)


def test_auto_leaves_half_of_the_free_memory() -> None:
    assert plan_workers("auto", 100, CPU, 16, 8 * WORKER_BYTES) == WorkerPlan(4, 4)
    assert plan_workers("auto", 100, CPU, 16, WORKER_BYTES) == WorkerPlan(1)


def test_a_number_is_taken_as_asked_for() -> None:
    assert plan_workers(3, 100, CPU, 2, WORKER_BYTES) == WorkerPlan(3, 1)
    assert plan_workers(3, 2, CPU, 2) == WorkerPlan(2, 1)
    assert plan_workers(1, 100, CPU) == WorkerPlan(1)


def test_on_a_gpu_workers_are_threads_that_need_less_memory_and_share_no_cores() -> None:
    gpu = torch.device("cuda:0")
    assert plan_workers("auto", 100, gpu, 16, PLENTY) == WorkerPlan(16)
    assert plan_workers("auto", 4, gpu, 16, PLENTY) == WorkerPlan(4)
    assert plan_workers("auto", 100, gpu, 16, 8 * LANE_BYTES) == WorkerPlan(4)
    assert plan_workers(3, 100, gpu, 2) == WorkerPlan(3)
    assert plan_workers(1, 100, gpu) == WorkerPlan(1)


@pytest.mark.parametrize("value", [0, -1, 2000, 1.5, "many", True])
def test_other_values_are_refused_with_the_range(value: object) -> None:
    with pytest.raises(SettingsError, match=r"workers = .*: must be auto or a number from 1 to 1024"):
        from_dict(RunSettings, {"workers": value}, "command line")


def test_number_of_workers_is_no_reason_to_score_again() -> None:
    assert result_settings(RunSettings(workers=2)) == result_settings(RunSettings(workers="auto"))


def test_limits_of_cgroups_hold(tmp_path: Path) -> None:
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    line = next((line for line in lines if line.split(":")[1] in ("", "memory")), None)
    if line is None:
        pytest.skip("this system has no cgroup for memory")
    _, controller, path = line.split(":", 2)
    root = tmp_path / controller
    (root / path.lstrip("/")).mkdir(parents=True)
    statistics = "inactive_file 4096"
    version_1 = {"memory.limit_in_bytes": 1 << 20, "memory.usage_in_bytes": 3 << 18, "memory.stat": statistics}
    version_2 = {"memory.max": 1 << 20, "memory.current": 3 << 18, "memory.stat": statistics}
    for name, value in (version_1 if controller else version_2).items():
        (root / name).write_text(f"{value}\n")
    assert available_memory_bytes(tmp_path) == (1 << 18) + 4096


def test_no_cgroup_means_the_machine(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == len(os.sched_getaffinity(0))
    memory = available_memory_bytes(tmp_path)
    assert memory is not None
    assert 0 < memory <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
