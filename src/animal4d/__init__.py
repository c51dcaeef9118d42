"""From one video of a four-legged animal to an animatable 3D animal."""

import os

# Idle OpenMP threads that spin slow everything down by an order of magnitude where cores are shared. Read once, when
# torch or numba load their runtime; whoever sets it beforehand keeps their choice.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

__version__ = "0.1.0"
