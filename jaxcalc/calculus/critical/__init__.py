"""What is proved of a function on an interval, piece by piece: its critical points, breaks and extreme values."""
