"""From one video of a four-legged animal to an animatable 3D animal."""

__version__ = "0.1.0"
