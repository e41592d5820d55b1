"""Families of problems: what the user's function returns, and what follows from that; a file each."""
