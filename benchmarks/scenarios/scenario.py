"""The scenarios, and how long each is measured.

Their definitions are those of MLPerf Inference (Reddi et al., 2020, "MLPerf Inference Benchmark"; MLCommons, "MLPerf
Inference Rules", "Scenarios"): how queries come, samples in a query (8 in a multi-stream's), which percentile is
told (the 90th of single queries, the 99th of the others). A result of MLPerf itself takes more than that: its models,
data and accuracy, 600 s a run, its LoadGen, and a review. So what is measured here is called MLPerf-style.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Scenario(StrEnum):
    """How queries come."""

    SINGLE_STREAM = "single-stream"
    MULTI_STREAM = "multi-stream"
    OFFLINE = "offline"
    SERVER = "server"


STREAMS = (Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM)
# "Samples/query" of the rules.
MULTI_STREAM_SAMPLES = 8
# A 99th percentile rests on ten of them at least.
QUERIES = 1_000
# Their raw times are kept and travel from the device; so many tell any percentile given here.
MOST_QUERIES = 1_000_000
# A stream that has not come to enough queries by so many times its duration ends without them.
PATIENCE = 3.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure.

    Attributes:
        seconds: least time of the run that the result is read from.
        point_s: of each point of a sweep, and of the run that finds what to start from.
        trial_s: of each rate that a server is tried at.
        most_trial_s: for a rate so low that it takes longer until there are enough queries.
        precision: the search for a rate ends when the lowest that failed is so close to the highest that held.
    """

    seconds: float
    point_s: float
    trial_s: float
    most_trial_s: float
    precision: float


PLANS: Mapping[str, Plan] = {
    "quick": Plan(seconds=2.0, point_s=0.5, trial_s=1.0, most_trial_s=20.0, precision=0.1),
    "default": Plan(seconds=10.0, point_s=2.0, trial_s=3.0, most_trial_s=60.0, precision=0.05),
    "thorough": Plan(seconds=60.0, point_s=10.0, trial_s=15.0, most_trial_s=600.0, precision=0.02),
}
