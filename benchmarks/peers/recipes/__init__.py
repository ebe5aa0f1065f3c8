"""What makes each peer's file: scripts that run in environments of their own, and know nothing of slimedge.

Each takes the path of a JSON file with `settings` and the paths `keras`, `onnx`, `tflite` and `saved_model` of the
float model, `calibration` and `training` (arrays by input name, and the classes as `y`), `autoencoder`, whether it
gives its input back, and `out`, which it writes.
"""
