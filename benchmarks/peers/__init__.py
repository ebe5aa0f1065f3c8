"""The same nets, data and calibration through other quantizers, beside slimedge: `make peers`."""
