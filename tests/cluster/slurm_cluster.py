"""A real SLURM of two nodes on this machine, up in about a second.

Everything lies in one temporary folder and runs as the user who starts it: only to install the programs takes root.
As a script: silent if they are installed, else one line that says how to install them.
"""

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
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

#: The nodes' names.
NODES = ("n1", "n2")
#: Seconds after SIGTERM until SIGKILL: when a job is cancelled or its time is over.
KILL_WAIT = 5
#: Seconds from the warning to a preempted job of the partition ``low`` to its end.
GRACE = 3
#: Seconds without a sign of a node after which its jobs are taken to be lost.
SLURMD_TIMEOUT = 10

# cred_expire: a requeued job waits one second longer than this: two minutes by default. With 1 second, none ends well.
# The intervals of the scheduler: the defaults suit clusters of thousands of jobs.
# config_overrides: the nodes have what is written here, not what the machine has.
# proctrack/pgid: what a job leaves behind is killed with it, as control groups do on a real cluster.
# What no setting alters: slurmctld looks at time limits, warnings and the end of GraceTime every 30 seconds only.
CONF = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/completed.txt
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
PropagateResourceLimits=NONE
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,sched_min_interval=0,batch_sched_delay=0,bf_interval=1,bf_continue
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PriorityType=priority/basic
JobRequeue=1
ReturnToService=2
BatchStartTimeout=10
InactiveLimit=0
KillWait={kill_wait}
MinJobAge=300
OverTimeLimit=0
SlurmctldTimeout=30
SlurmdTimeout={slurmd_timeout}
NodeName={first} NodeHostname={host} NodeAddr=127.0.0.1 Port={port1} CPUs={cpus} RealMemory=4000 State=UNKNOWN
NodeName={second} NodeHostname={host} NodeAddr=127.0.0.1 Port={port2} CPUs={cpus} RealMemory=4000 State=UNKNOWN
PartitionName=low Nodes=ALL Default=YES MaxTime=60 PriorityTier=1 PreemptMode=REQUEUE GraceTime={grace} State=UP
PartitionName=abrupt Nodes=ALL MaxTime=60 PriorityTier=1 PreemptMode=REQUEUE GraceTime=0 State=UP
PartitionName=high Nodes=ALL MaxTime=60 PriorityTier=10 PreemptMode=OFF State=UP
"""


#: The programs, in Debian's packages.
PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")


def program(name: str) -> str:
    """The path of a program of SLURM or munge. Those of daemons are often not on a user's PATH."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise FileNotFoundError(f"no {name} on PATH; on Debian and Ubuntu: apt-get install {' '.join(PACKAGES)}")
    return found


def free_ports(number: int) -> list[int]:
    """Ports that nothing listens on."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def wait_for(condition: Callable[[], object], what: str, *, seconds: float = 30.0) -> None:
    """Waits until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"after {seconds:g} seconds still not: {what}")
        time.sleep(0.05)


class SlurmCluster:
    """A controller and two nodes, ``n1`` and ``n2``, of ``cpus`` CPUs each, however many the machine has.

    A job in the partition ``high`` preempts those in ``low`` (the default) and ``abrupt``, which are requeued: in
    ``low`` after a grace that ends within 33 seconds, in ``abrupt`` at once. ``env`` is the environment in which
    SLURM's commands find this cluster.
    """

    def __init__(self, *, cpus: int = 2) -> None:
        self.cpus = cpus
        # Not pytest's: the path of a socket may have 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        self.conf = self.folder / "slurm.conf"
        self.env = {**os.environ, "SLURM_CONF": str(self.conf)}
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> SlurmCluster:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _start(self) -> None:
        # The munge daemon wants its socket's folder open to all, and the key to its user alone.
        self.folder.chmod(0o755)
        (self.folder / "state").mkdir()
        (self.folder / "spool").mkdir()
        key = self.folder / "munge.key"
        key.touch(0o600)
        key.write_bytes(secrets.token_bytes(128))
        controller, port1, port2 = free_ports(3)
        self.conf.write_text(
            CONF.format(
                host=socket.gethostname().split(".")[0],
                user=pwd.getpwuid(os.getuid()).pw_name,
                folder=self.folder,
                controller=controller,
                port1=port1,
                port2=port2,
                first=NODES[0],
                second=NODES[1],
                grace=GRACE,
                cpus=self.cpus,
                kill_wait=KILL_WAIT,
                slurmd_timeout=SLURMD_TIMEOUT,
            )
        )
        paths = {"key": "key", "pid": "pid", "seed": "seed", "log": "log"}
        files = [f"--{kind}-file={self.folder}/munge.{end}" for kind, end in paths.items()]
        self._daemon("munged", ["-F", "--force", f"--socket={self.folder}/munge.socket", *files])
        wait_for((self.folder / "munge.socket").is_socket, "munged listens")
        self.start_controller()
        for node in NODES:
            self.start_node(node)
        wait_for(lambda: self.states() == dict.fromkeys(NODES, "idle"), "both nodes are idle")

    def _daemon(self, name: str, options: Sequence[str], *, known_as: str | None = None) -> None:
        known_as = known_as or name
        with (self.folder / f"{known_as}.out").open("ab") as out:
            # Its end comes with that of the tests, even when they are killed.
            command = ["setpriv", "--pdeathsig", "TERM", program(name), *options]
            self.daemons[known_as] = subprocess.Popen(command, env=self.env, stdout=out, stderr=out)

    def start_node(self, node: str) -> None:
        """Starts the daemon of a node: for the first time, or again after `kill_node`."""
        self._daemon("slurmd", ["-D", "-N", node], known_as=node)

    def kill_node(self, node: str) -> None:
        """Kills a node's daemon with SIGKILL. The jobs on it live on."""
        daemon = self.daemons.pop(node)
        daemon.kill()
        daemon.wait()

    def stop_controller(self) -> None:
        """Ends slurmctld, which keeps what it knows. The jobs go on, and `start_controller` starts it again."""
        daemon = self.daemons.pop("slurmctld")
        daemon.terminate()
        daemon.wait()

    def start_controller(self) -> None:
        """Starts slurmctld: for the first time, or again after `stop_controller`."""
        self._daemon("slurmctld", ["-D"])

    def run(self, *command: str, check: bool = True) -> str:
        """What a command of SLURM prints."""
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60)
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def states(self) -> dict[str, str]:
        """The state of every node."""
        listed = self.run("sinfo", "--noheader", "--Node", "--partition=low", "--format=%N %T", check=False)
        return dict(line.split() for line in listed.splitlines())

    def sbatch(self, script: str, *options: str) -> str:
        """Submits a shell script and returns the job's id. `output` gives what it prints."""
        path = self.folder / f"script-{secrets.token_hex(4)}.sh"
        path.write_text(f"#!/bin/bash\n{script}\n")
        out = "%A_%a.out" if any(option.startswith("--array") for option in options) else "%j.out"
        where = [f"--output={self.folder}/{out}", f"--chdir={self.folder}", "--open-mode=append"]
        return self.run("sbatch", "--parsable", *where, *options, str(path)).strip()

    def job(self, job: str) -> dict[str, str]:
        """The fields that ``scontrol show job`` gives of a job or of one task of an array (``5_1``)."""
        shown = self.run("scontrol", "--oneliner", "show", "job", job)
        return dict(re.findall(r"(\w[\w:/]*)=(\S*)", shown.splitlines()[0]))

    def state(self, job: str) -> str:
        """A job's state, ``RUNNING`` say."""
        return self.job(job)["JobState"]

    def wait_state(self, job: str, *states: str, seconds: float = 30.0) -> dict[str, str]:
        """Waits until a job is in one of the states; returns its fields."""
        wait_for(lambda: self.state(job) in states, f"job {job} is {' or '.join(states)}", seconds=seconds)
        return self.job(job)

    def output(self, job: str) -> str:
        """What a job or a task of an array has printed so far, in all its attempts."""
        path = self.folder / f"{job}.out"
        return path.read_text() if path.exists() else ""

    def processes(self) -> Iterator[int]:
        """The processes that belong to this cluster: daemons, steps, jobs."""
        mark = f"SLURM_CONF={self.conf}".encode()
        for folder in Path("/proc").glob("[0-9]*"):
            # One that ends meanwhile, or another user's.
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name)

    def stop(self) -> None:
        """Ends the cluster and all that runs in it, and removes its folder."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for daemon in self.daemons.values():
            daemon.wait()
        # A job may have started another process just before it was killed.
        wait_for(lambda: not any(self._kill()), "every process has ended")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _kill(self) -> Iterator[int]:
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            yield pid


if __name__ == "__main__":
    try:
        for name in ("munged", "slurmctld", "slurmd", "sbatch"):
            program(name)
    except FileNotFoundError as error:
        sys.exit(str(error))
