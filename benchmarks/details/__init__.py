"""What lies behind a comparison's figures: samples of latency, classes, single examples, and times of layers."""
