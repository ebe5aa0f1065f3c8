"""Layers split into chains of smaller ones, by matrices and kernels of low rank."""
