"""Recordings scored by actors of a Ray cluster. Nothing else knows Ray, which is imported when a cluster is asked for.

Whoever reaches a Ray cluster can run code on it: see docs/how-to/ray.md.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

from avpenet_cli.errors import EnvironmentUnavailableError, SettingsError
from avpenet_cli.runs.callbacks import RunCallbacks
from avpenet_cli.runs.temporary import temporary_folder
from avpenet_cli.scoring.lanes.actor import ActorSetup, ScoringActor
from avpenet_cli.scoring.lanes.actor_lanes import ActorLanes, Lost, open_actor_lanes
from avpenet_cli.scoring.lanes.lane import Job
from avpenet_cli.scoring.lanes.worker_process import Message

if TYPE_CHECKING:
    from avpenet_cli.scoring.request import ScoreRequest

# Ends with 0 where a cluster answers someone without a token, with 3 where it refuses.
_PROBE = """import sys; from ray._raylet import GcsClient; from ray.exceptions import AuthenticationError
try: GcsClient(address=sys.argv[1]).cluster_id
except AuthenticationError: sys.exit(3)"""


def open_ray_lanes(
    request: ScoreRequest, callbacks: RunCallbacks, *, with_times: bool, address: str, actors: int | None = None
) -> ActorLanes:
    """As `open_actor_lanes`, on the cluster at HOST:PORT, to which this host belongs, or on a new one (`local`).

    Raises:
        SettingsError: the cluster asks for no token.
        EnvironmentUnavailableError: Ray is not installed, or the cluster cannot be reached.
        AvpenetError: as `open_actor_lanes`.
    """
    return open_actor_lanes(RayCluster(address), request, callbacks, with_times=with_times, actors=actors)


class RayCluster:
    """A connection to a Ray cluster, as `Cluster` describes it; arguments and errors as `open_ray_lanes`."""

    def __init__(self, address: str) -> None:
        if os.environ.setdefault("RAY_AUTH_MODE", "token") != "token":
            raise SettingsError("RAY_AUTH_MODE is not token", "unset it: without one, whoever connects could run code")
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        if address.startswith(("local", "127.")):  # or Ray takes the host's address for a loopback address
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        self._stack = contextlib.ExitStack()
        arguments: dict[str, Any] = {"address": address, "log_to_driver": False, "configure_logging": False}
        if address == "local":  # with a token that is in no file
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
            folder = self._stack.enter_context(temporary_folder("ray"))
            arguments |= {"_temp_dir": f"{folder}/r", "include_dashboard": False}
        try:
            import ray
        except ImportError:
            raise EnvironmentUnavailableError("Ray is not installed", "install avpenet[ray]") from None
        if address != "local":
            _require_token(address)
        self._ray: Any = ray
        self._stack.callback(ray.shutdown)
        # Ray would publish the command line and the current folder in the cluster, and write on standard output.
        ray._private.utils.get_entrypoint_name = lambda: "avpenet"
        ray._private.worker._worker_logs_enabled = False
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with contextlib.chdir("/"):
                ray.init(**arguments)
        except Exception as error:  # such as a plain `Exception` where a node needs more than 30 s to start
            self._stack.close()
            remedy = "wait until the machine is less busy" if address == "local" else "see `ray status`"
            raise EnvironmentUnavailableError(f"Ray at {address}: {_line(error)}", remedy) from None
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def resources(self) -> tuple[int, int]:
        """As `Cluster.resources`."""
        total = self._ray.cluster_resources()
        return int(total.get("CPU", 0)), int(total.get("GPU", 0))

    def start(self, setup: ActorSetup, gpus: int) -> Any:
        """As `Cluster.start`."""
        options = {"num_cpus": 1, "num_gpus": gpus, "max_concurrency": setup.lanes, "scheduling_strategy": "SPREAD"}
        # What becomes of an actor that ends is decided by the lanes.
        return self._ray.remote(max_restarts=0, max_task_retries=0, **options)(ScoringActor).remote(setup)

    def load(self, actor: Any) -> Any:
        """As `Cluster.load`."""
        return actor.load.remote()

    def score(self, actor: Any, job: Job) -> Any:
        """As `Cluster.score`."""
        return actor.score.remote(job)

    def receive(self, streams: list[Any], timeout_s: float) -> tuple[Any, Message | Lost | None] | None:
        """As `Cluster.receive`."""
        ready, _ = self._ray.wait(streams, timeout=timeout_s)
        if not ready:
            return None
        try:
            return ready[0], self._ray.get(next(ready[0]))
        except StopIteration:
            return ready[0], None
        except self._ray.exceptions.RayError as error:
            return ready[0], Lost(_line(error))

    def end(self, actor: Any) -> None:
        """As `Cluster.end`."""
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(actor)

    def close(self) -> None:
        """As `Cluster.close`."""
        self._stack.close()


def _require_token(address: str) -> None:
    without = {name: text for name, text in os.environ.items() if not name.startswith("RAY_AUTH")}
    probe = [sys.executable, "-c", _PROBE, address]
    ended = subprocess.run(probe, env={**without, "RAY_AUTH_MODE": "disabled"}, capture_output=True, check=False)
    if ended.returncode == 0:
        remedy = "whoever reaches it can run code there; start it with RAY_AUTH_MODE=token on every node"
        raise SettingsError(f"the Ray cluster at {address} asks for no token", remedy)
    if ended.returncode != 3:
        raise EnvironmentUnavailableError(
            f"no Ray cluster answers at {address}", "give HOST:PORT as ray start shows it"
        )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
