"""Whether the engine compiles for accelerators that this machine does not have."""
