"""Blocks that a graph computes without: found, chosen, and taken out."""
