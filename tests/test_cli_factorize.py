"""`slimedge factorize`: what it writes, says and refuses."""

from __future__ import annotations

import numpy as np
from small_models import MODELS, examples

from slimedge.cli.running import run
from slimedge.keras_file import load_model, save_model
from slimedge.lineage import lineage_of
from slimedge.macs import count


def test_the_command_splits_scores_and_writes(tmp_path, capsys):
    network = MODELS["dense_chain"]()
    save_model(network, tmp_path / "float.keras")
    rows = examples(network, count=60)["row"]
    np.savez(tmp_path / "data.npz", row=rows, y=np.asarray(network(rows)))
    arguments = ["factorize", str(tmp_path / "float.keras"), "--data", str(tmp_path / "data.npz")]

    assert (
        run(
            [
                *arguments,
                "-o",
                str(tmp_path / "out.keras"),
                "--macs",
                "0.6",
                "--layers",
                "dense*",
                "--epochs",
                "1",
            ]
        )
        == 0
    )
    told = capsys.readouterr().out
    settings = lineage_of(load_model(tmp_path / "out.keras"))[-1].settings
    assert settings["macs_after"] <= 0.6 * settings["macs_before"] == 0.6 * count(network).total
    assert (
        f"split {len(settings['layers'])} of {len(settings['layers']) + len(settings['left'])} layers" in told
    )
    assert f"MACs {settings['macs_before']} before, {settings['macs_after']} after" in told

    assert run([*arguments, "-o", str(tmp_path / "more.keras"), "--energy", "0.9", "--macs", "0.6"]) == 2
    assert "exactly one says how far" in capsys.readouterr().err
    assert not (tmp_path / "more.keras").exists()
