"""Two nodes of a Ray cluster on the loopback address, as a program: one to be killed.

Prints the address when both are there. `kill` on standard input kills the second node with all its processes at once,
as a power cut would; the end of standard input ends the cluster.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Run the nodes; the argument is a short path of an empty folder, since sockets lie in it."""
    from ray.cluster_utils import Cluster

    node: dict[str, Any] = {
        "node_ip_address": "127.0.0.1",
        "num_cpus": 1,
        "object_store_memory": 80 << 20,
        "include_dashboard": False,
    }
    system = {"health_check_period_ms": 500, "health_check_timeout_ms": 2000, "health_check_failure_threshold": 4}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "temp_dir": sys.argv[1], "_system_config": system})
    second = cluster.add_node(**node)
    print(cluster.address, flush=True)
    for line in sys.stdin:
        if line.strip() == "kill":
            raylets = [process.process.pid for process in second.all_processes["raylet"]]
            _kill_with_children(raylets)
            print("killed", flush=True)
    shut_down: Any = cluster.shutdown
    shut_down()


def _kill_with_children(processes: list[int]) -> None:
    """Stop all first, so that none can end in good order."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    doomed = list(processes)
    for process in doomed:
        doomed += [child for child, parent in parents.items() if parent == process]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for process in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)


if __name__ == "__main__":
    main()
