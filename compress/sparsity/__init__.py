"""Pruning by magnitude, in parts: patterns, ranking, schedules, which weights, masks, a callback."""
