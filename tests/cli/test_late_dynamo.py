"""torch._dynamo is left out of a training, and is the real module for whoever compiles."""

import subprocess
import sys

import pytest

TRAINING = """
import sys
import torch
from safe_exp.cli.lean_imports import import_lightning
import_lightning()
import pytorch_lightning as pl
model = torch.nn.Linear(2, 1)
for kind in (torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop):
    optimizer = kind(model.parameters(), lr=0.1)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    optimizer.load_state_dict(optimizer.state_dict())
pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
assert not isinstance(model, torch._dynamo.OptimizedModule)
loaded = [name for name in sys.modules if name.startswith(("torch._dynamo.", "torch._inductor"))]
assert not loaded, loaded
"""
COMPILED = """
compiled = torch.compile(model, backend="eager")
assert torch.equal(compiled(torch.ones(1, 2)), model(torch.ones(1, 2)))
assert "torch._dynamo.eval_frame" in sys.modules
from lightning_fabric.wrappers import _unwrap_compiled
assert _unwrap_compiled(compiled)[0] is model
assert not isinstance(model, torch._dynamo.OptimizedModule)
"""
SUBMODULE = """
import sys
from safe_exp.cli.late_dynamo import put_off_dynamo
finders = list(sys.meta_path)
import torch
put_off_dynamo()
import torch._dynamo.config as config
assert sys.meta_path == finders
assert config is sys.modules["torch._dynamo.config"] is torch._dynamo.config
assert config.__spec__.origin.endswith("config.py")
assert torch._dynamo is sys.modules["torch._dynamo"] and torch._dynamo.__file__
put_off_dynamo()
assert torch._dynamo.__file__, "a module that is loaded stays"
"""


@pytest.mark.slow
@pytest.mark.parametrize("code", [TRAINING + COMPILED, SUBMODULE], ids=["training, then torch.compile", "a submodule"])
def test_the_compiler_is_loaded_for_those_who_compile(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
