"""One thread for each process: on tensors this small a second one costs time, and much of it on a busy machine."""

import os

import torch

os.environ["OMP_NUM_THREADS"] = "1"  # for the commands that tests start
torch.set_num_threads(1)
