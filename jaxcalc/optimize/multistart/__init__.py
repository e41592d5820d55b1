"""Many starts of one function in a box: its distinct minima, and its stationary points."""
