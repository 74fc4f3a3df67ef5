"""A SLURM cluster of one node, this machine: munge, slurmctld and slurmd run during the tests."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "sinfo", "scancel")
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=cred_expire=1
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
KillWait=8
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000
PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """The environment variables by which sbatch and the other commands find the cluster."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and SLURM (Debian: slurm-wlm, munge); missing: {', '.join(missing) or 'root'}")
    place = tmp_path_factory.mktemp("slurm")
    for folder in ("state", "spool"):
        (place / folder).mkdir()
    (place / "slurm.conf").write_text(CONF.format(host=socket.gethostname().split(".")[0], place=place))
    environment = {**os.environ, "SLURM_CONF": str(place / "slurm.conf")}
    Path("/run/munge").mkdir(exist_ok=True)
    shutil.chown("/run/munge", "munge", "munge")
    started = []
    if subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode:
        started.append(
            subprocess.Popen(["runuser", "-u", "munge", "--", "munged", "--foreground"], stderr=subprocess.DEVNULL)
        )
        time.sleep(1)
    for program in ("slurmctld", "slurmd"):
        started.append(subprocess.Popen([program, "-D"], env=environment, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL))  # fmt: skip
        time.sleep(1)
    try:
        for _ in range(60):
            state = subprocess.run(
                ["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True, check=False
            )
            if state.stdout.strip() == "idle":
                break
            time.sleep(0.5)
        else:
            logs = "\n".join(path.read_text()[-2000:] for path in place.glob("*.log"))
            pytest.fail(f"the cluster does not come up: {state.stdout} {state.stderr}\n{logs}")
        yield environment
    finally:
        subprocess.run(["scancel", "-u", "root"], env=environment, check=False)
        for process in reversed(started):
            process.terminate()
            process.wait(timeout=30)
