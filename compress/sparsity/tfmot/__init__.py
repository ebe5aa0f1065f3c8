"""Pruning by the TensorFlow Model Optimization Toolkit, in a process of its own."""
