"""Interval arithmetic on traced functions: bounds over whole intervals, and the zeros of f' isolated with them."""
