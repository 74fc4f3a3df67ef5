import pytest

from safe_exp.runs.processes import note_processes
from tests.made import compose_config


@pytest.fixture
def a_job_of_several_processes():
    note_processes(compose_config("trainer=ddp").trainer)
    yield
    note_processes(compose_config("trainer=cpu").trainer)
