"""Arm Ethos-U NPUs by their compiler, Vela: what it estimates, and the file that it makes."""
