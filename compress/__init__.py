"""Keras model in, Keras model out: the graph as data, and the methods that make it smaller."""
