"""Freed memory that a process keeps, in processes of their own: the setting holds for the whole process."""

import subprocess
import sys

import pytest

FAULTS = """
import resource
from safe_exp.system.memory import KEPT_BY_A_RUN, keep_freed_memory

kept = {keep} and keep_freed_memory(KEPT_BY_A_RUN)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    bytes(40 << 20).count(1)  # 10,000 pages
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the C library is another one")
def test_a_process_asks_the_system_for_its_pages_once():
    faults = {}
    for keep in (False, True):
        told = subprocess.run([sys.executable, "-c", FAULTS.format(keep=keep)], capture_output=True, text=True)
        kept, faults[keep] = told.stdout.split()
        assert kept == str(keep)
    assert int(faults[True]) < int(faults[False]) / 5
