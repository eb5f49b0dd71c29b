"""Nodes of a Ray cluster on the loopback address, as a program: one of them to be killed.

Prints the address when all are there. `kill` on standard input kills the last node with all its processes at once, as a
power cut would; `jobs` shows what the cluster knows of its jobs; the end of standard input ends the cluster.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import Any

from tests.support.processes import descendants


def main() -> None:
    """Run as many nodes as the argument says; their files go to the folder `ray` in $RAY_TMPDIR."""
    import ray
    from ray.cluster_utils import Cluster

    client: Any = getattr(ray._raylet, "GcsClient")  # noqa: B009 - without a type
    node: dict[str, Any] = {
        "node_ip_address": "127.0.0.1",
        "num_cpus": 1,
        "object_store_memory": 80 << 20,
        "include_dashboard": False,
    }
    system = {"health_check_period_ms": 500, "health_check_timeout_ms": 2000, "health_check_failure_threshold": 4}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "_system_config": system})
    nodes = [cluster.add_node(**node) for _ in range(1, int(sys.argv[1]))]
    print(cluster.address, flush=True)
    for line in sys.stdin:
        if line.strip() == "kill":
            _kill_with_children(nodes[-1].all_processes["raylet"][0].process.pid)
            print("killed", flush=True)
        elif line.strip() == "jobs":
            print(repr(str(client(address=cluster.address).get_all_job_info())), flush=True)
    shut_down: Any = cluster.shutdown
    shut_down()


def _kill_with_children(process: int) -> None:
    """Stop all first, so that none can end in good order."""
    doomed = [process, *descendants(process)]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for member in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, number)


if __name__ == "__main__":
    main()
