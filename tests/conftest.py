"""Every test runs on one thread, so that timings and last bits do not depend on the machine, and without a display."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")

import torch

torch.set_num_threads(1)
