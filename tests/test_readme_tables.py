"""The README quotes what was measured: its tables are made from the files of results."""

from __future__ import annotations

import json
from pathlib import Path

import accuracy_tables
import compression_tables
import cost_tables
import device_tables
import pytest
import recipe_tables

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks/results"

TABLES = {
    table.__name__: table
    for table in (
        accuracy_tables.full_set,
        accuracy_tables.qat,
        accuracy_tables.qat_recipe,
        accuracy_tables.pruned,
        accuracy_tables.words,
        accuracy_tables.weight_only,
        cost_tables.zoo,
        cost_tables.speed,
        cost_tables.peers,
        cost_tables.export_cost,
        cost_tables.calibration_cost,
        accuracy_tables.observer_effect,
        accuracy_tables.method_effect,
        accuracy_tables.activation_bits,
        accuracy_tables.bit_budget,
        compression_tables.channels,
        compression_tables.channel_exactness,
        compression_tables.clustered,
        compression_tables.low_rank,
        recipe_tables.distilled,
        recipe_tables.recipes,
        compression_tables.two_workers,
        cost_tables.train_demo,
        cost_tables.train_words,
        cost_tables.aa,
        cost_tables.resuming,
        device_tables.emulated,
        device_tables.microcontroller,
        device_tables.harness_overhead,
        device_tables.profile_exactness,
        device_tables.gpu,
    )
}


@pytest.mark.parametrize("result", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_the_readme_quotes_what_was_measured(result):
    quoted = TABLES[result.stem](json.loads(result.read_text()))
    assert quoted in README.read_text(), f"in README.md, the table of {result.name} is now\n\n{quoted}\n"
