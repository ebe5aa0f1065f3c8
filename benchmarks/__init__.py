"""Measure, compare and report a model before and after."""
