"""Quantization-aware training, in parts: gradients, layers, the graph that trains, losses, constraints, the loop."""
