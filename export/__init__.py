"""Keras model in, ONNX and TFLite files out, each one checked against the model."""
