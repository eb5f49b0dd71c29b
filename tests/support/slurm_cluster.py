"""A real SLURM on this machine: a controller and several nodes on ports of the loopback address, as this user."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.hosts import need

TOOLS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "setpriv")
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
_MARK = "AVPENET_TEST_NODE"
_WAIT_S = 900.0
_CLEARED_S = 15.0

_CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
CommunicationParameters=NoAddrCache,NoInAddrAny,NoCtldInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
ReturnToService=2
SlurmdTimeout=30
MessageTimeout=3
TCPTimeout=1
KillWait=20
NodeName={first} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1 RealMemory=1000
NodeName={second} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1 RealMemory=1000
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class SlurmCluster:
    """Daemons in a folder of their own, which end with this process, and the commands of SLURM.

    Attributes:
        environment: in which SLURM's commands find this cluster.
    """

    nodes = ("n1", "n2")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": _PATH}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._requeued: dict[tuple[str, str], float] = {}

    def start(self) -> None:
        """Start all daemons; returns when the nodes take jobs."""
        first, second = self.nodes
        (self.folder / "slurm.conf").write_text(
            _CONFIGURATION.format(
                host=socket.gethostname().split(".")[0],
                user=pwd.getpwuid(os.getuid()).pw_name,
                folder=self.folder,
                ports=_free_ports(3),
                first=first,
                second=second,
            )
        )
        (self.folder / "state").mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        files = {"key-file": key, **{f"{name}-file": self.folder / f"munge.{name}" for name in ("pid", "log", "seed")}}
        # --force: the folder of a test is nobody else's, of which munge warns.
        options = [f"--{name}={path}" for name, path in files.items()]
        self._daemon("munged", "--foreground", "--force", f"--socket={self.folder}/munge.socket", *options)
        self.wait_for((self.folder / "munge.socket").exists, "munged to start")
        self._daemon("slurmctld", "-D", "-i")
        for node in self.nodes:
            self.start_node(node)
        self.wait_for(lambda: self.run("sinfo", "-h", "-o", "%t").split() == ["idle"], "nodes to be idle")

    def start_node(self, node: str) -> None:
        """Start a node's daemon, which remembers no jobs."""
        spool = self.folder / f"spool-{node}"
        shutil.rmtree(spool, ignore_errors=True)
        spool.mkdir()
        self._daemon("slurmd", "-D", "-N", node, node=node)

    def lose_node(self, node: str) -> None:
        """End a node's daemon and all processes of its jobs at once, as a power cut would."""
        for _ in range(3):  # a process may have started another
            for pid in self._processes(node):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._daemons.pop(node).wait()

    def run(self, *command: str) -> str:
        """Output of one of SLURM's commands."""
        result = subprocess.run(command, env={**os.environ, **self.environment}, capture_output=True, text=True)
        assert result.returncode == 0, f"{command}: {result.stderr}"
        return result.stdout

    def jobs(self) -> dict[str, dict[str, str]]:
        """State, Reason, BatchHost and so on of each job and task of an array, by its id: `12` or `12_3`."""
        jobs = {}
        for line in self.run("scontrol", "--oneliner", "show", "jobs").splitlines():
            facts = dict(re.findall(r"(\w+)=(\S*)", line))
            if "JobId" in facts:
                task = facts.get("ArrayTaskId", "")
                jobs[f"{facts['ArrayJobId']}_{task}" if "ArrayJobId" in facts else facts["JobId"]] = facts
        return jobs

    def release_requeued(self) -> dict[str, dict[str, str]]:
        """Let jobs that were requeued a while ago start now; returns all, as `jobs`.

        SLURM has them wait for two minutes, until their nodes have ended what runs of them: what is sent to do so can
        otherwise end the new run.
        """
        jobs = self.jobs()
        waiting = {
            job: facts["Restarts"]
            for job, facts in jobs.items()
            if facts["JobState"] == "PENDING" and facts["Reason"] == "BeginTime"
        }
        now = time.monotonic()
        self._requeued = {key: self._requeued.get(key, now) for key in waiting.items()}
        for (job, _), since in self._requeued.items():
            if now - since > _CLEARED_S:
                self.run("scontrol", "update", f"JobId={job}", "StartTime=now")
        return jobs

    def wait_for(self, condition: Callable[[], bool], what: str, *, poll_s: float = 0.2) -> None:
        """Wait until something is so, looking every so many seconds.

        Raises:
            AssertionError: it never was; says what SLURM's logs end with.
        """
        deadline = time.monotonic() + _WAIT_S
        while time.monotonic() < deadline:
            with contextlib.suppress(AssertionError):
                if condition():
                    return
            time.sleep(poll_s)
        logs = [path.read_text(errors="replace")[-1500:] for path in sorted(self.folder.glob("*.log"))]
        raise AssertionError("\n".join([f"waited in vain for {what}", *logs]))

    def stop(self) -> None:
        """End all daemons, and every process of their jobs."""
        for node in 3 * ("", *self.nodes):  # a process may have started another
            for pid in self._processes(node):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for daemon in self._daemons.values():
            daemon.kill()
            daemon.wait()

    def _daemon(self, *command: str, node: str = "") -> None:
        # They end with this process, even if that is killed.
        self._daemons[node or command[0]] = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            env={**os.environ, **self.environment, _MARK: node},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _processes(self, node: str) -> Iterator[int]:
        """A node's daemon, its job steps and their processes; without a name all that belong to no node."""
        here = f"SLURM_CONF={self.environment['SLURM_CONF']}".encode()
        marks = {f"{_MARK}={node}".encode(), f"SLURMD_NODENAME={node}".encode()}
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                variables = set((entry / "environ").read_bytes().split(b"\0")) if entry.name.isdigit() else set()
                if here in variables and marks & variables and int(entry.name) != os.getpid():
                    yield int(entry.name)


def need_slurm() -> None:
    """Skip the test where programs that a cluster needs are not installed; in CI that is a failure."""
    need(*TOOLS, path=_PATH)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
