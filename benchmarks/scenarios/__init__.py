"""MLPerf-style scenarios: what a model gives under each way in which queries come."""
