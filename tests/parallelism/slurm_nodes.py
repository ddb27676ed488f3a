"""A real SLURM on one machine: a controller and two nodes that are no services of the system.

It needs Debian's packages slurm-wlm and munge, neither root nor systemd, and leaves nothing behind.
To run a command in it: `python tests/parallelism/slurm_nodes.py srun --nodes 2 hostname`.
"""

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "mungekey", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
NODES = ("node1", "node2")
WAIT_S = 60

# No cgroups, no accounts. Nodes have what is written here, whatever the machine has
# (`config_overrides`); a job goes to the least loaded one (`CR_LLN`), so two use both.
CONFIG = """\
ClusterName=two
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmdSpoolDir={folder}/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
MailProg=/bin/true
KillWait=5
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory,CR_LLN
SlurmdParameters=config_overrides
NodeName=DEFAULT CPUs=2 RealMemory=8000
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]}
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]}
PartitionName=all Nodes=ALL Default=YES DefMemPerCPU=1000 State=UP
"""


def missing_programs() -> list[str]:
    """What of SLURM and munge is not installed here."""
    return [name for name in PROGRAMS if _find(name) is None]


@contextmanager
def slurm_nodes() -> Iterator[dict[str, str]]:
    """Two idle nodes, while the context lasts; gives the environment for sbatch and its like.

    Raises:
        RuntimeError: the nodes are not idle, or their jobs not gone, in `WAIT_S`; with the logs.
    """
    # Not below pytest's folder: the path of a socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="slurm-") as name, ExitStack() as running:
        folder = Path(name)
        environ = os.environ | {"SLURM_CONF": str(_write_config(folder))}
        for daemon, command in _daemons(folder).items():
            running.enter_context(_daemon(command, folder / f"{daemon}.log", environ))
        _wait_for("idle\n" * len(NODES), "sinfo --noheader --Node --format=%T", folder, environ)
        running.callback(_end_jobs, folder, environ)
        yield environ


def _find(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin")


def _write_config(folder: Path) -> Path:
    for name in ("state", *NODES):
        (folder / name).mkdir()
    subprocess.run(
        [str(_find("mungekey")), "--create", f"--keyfile={folder}/munge.key"], check=True
    )
    config = folder / "slurm.conf"
    host, user = socket.gethostname().split(".")[0], pwd.getpwuid(os.getuid()).pw_name
    config.write_text(CONFIG.format(host=host, user=user, folder=folder, ports=_free_ports()))
    return config


def _free_ports() -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in ("controller", *NODES)]
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]


def _daemons(folder: Path) -> dict[str, list[str]]:
    files = ("key-file", "socket", "pid-file", "seed-file")
    munge = [f"--{file}={folder}/munge.{file.removesuffix('-file')}" for file in files]
    return {
        "munge": ["munged", "--foreground", "--force", *munge],  # `--force`: in a closed folder
        "controller": ["slurmctld", "-D"],
        **{node: ["slurmd", "-D", "-N", node] for node in NODES},
    }


@contextmanager
def _daemon(command: Sequence[str], log: Path, environ: dict[str, str]) -> Iterator[None]:
    """A session of its own, as Ctrl-C is to end jobs first; ends should this process be killed."""
    program, *arguments = command
    with (
        log.open("w") as output,
        subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", str(_find(program)), *arguments],
            env=environ,
            start_new_session=True,
            stdout=output,
            stderr=output,
        ) as process,
    ):
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(WAIT_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _end_jobs(folder: Path, environ: dict[str, str]) -> None:
    subprocess.run(["scancel", "--state=PENDING"], env=environ, check=True)
    subprocess.run(["scancel", "--state=RUNNING"], env=environ, check=True)
    _wait_for("", "squeue --noheader", folder, environ)


def _wait_for(answer: str, command: str, folder: Path, environ: dict[str, str]) -> None:
    end, got = time.monotonic() + WAIT_S, None
    while got != answer:
        if time.monotonic() > end:
            logs = "".join(path.read_text()[-2000:] for path in folder.glob("*.log"))
            raise RuntimeError(f"`{command}` says {got!r}, not {answer!r}; SLURM's logs:\n{logs}")
        time.sleep(0.1)
        asked = subprocess.run(command.split(), env=environ, capture_output=True, text=True)
        got = asked.stdout if asked.returncode == 0 else None


if __name__ == "__main__":
    with slurm_nodes() as nodes:
        sys.exit(subprocess.run(sys.argv[1:], env=nodes, check=False).returncode)
