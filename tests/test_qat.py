"""The measurement of training: which runs there are, how they are kept, and which bars they miss."""

from __future__ import annotations

from slimedge.benchmarks.qat import ENGINES, MODELS, Run, merged, missed, wanted


def run(model="resnet8", bits=8, seed=0, trained=0.92, engine="keras"):
    return Run(model, bits, seed, 10_000, 0.917, 0.918, trained, None, 60.0, engine)


def test_every_net_is_trained_with_8_bits_and_resnet8_with_4():
    runs = list(wanted(MODELS, (0, 1, 2), (8, 4)))
    assert len(runs) == 3 * len(MODELS) + 3
    assert {name for name, bits, *_ in runs if bits == 4} == {"resnet8"}


def test_tfmot_trains_eight_bits_only():
    runs = list(wanted(("resnet8",), (0, 1), (8, 4), ENGINES))
    assert [one for one in runs if one[3] != "keras"] == [
        ("resnet8", 8, seed, engine) for engine in ENGINES[1:] for seed in (0, 1)
    ]
    assert sum(one[3] == "keras" for one in runs) == 4


def test_ours_may_lag_a_fifth_of_a_point_behind_tfmot_on_the_seeds_of_both():
    peers = [run(trained=0.9219, engine="tfmot"), run(trained=0.95, seed=1, engine="tfmot")]
    assert missed([run(), *peers]) == []
    assert missed([run(trained=0.9198), *peers]) == [
        "int8 of resnet8 trained by keras has 91.98%, by tfmot 92.19%, on the mean of 1 seeds"
    ]


def test_an_autoencoder_is_told_by_its_error_of_which_less_is_better():
    def error(trained, engine="keras"):
        return Run("dense_autoencoder", 8, 0, 10_000, 0.018, 0.0190, trained, None, 60.0, engine)

    peer = error(0.0180, "tfmot")
    assert missed([error(0.0183), peer]) == []
    (sentence,) = missed([error(0.0191), error(0.0188, "tfmot")])
    assert sentence.startswith(
        "trained int8 of dense_autoencoder has an error of 0.01910, post-training int8 an error of 0.01900, on"
    )
    (sentence,) = missed([error(0.0184), peer])
    assert sentence.startswith(
        "int8 of dense_autoencoder trained by keras has an error of 0.01840, by tfmot an error of 0.01800, on"
    )


def test_a_bar_is_missed_on_the_mean_of_the_seeds():
    good = [run(seed=seed) for seed in (0, 1)]
    assert missed([*good, run(seed=2, trained=0.9179)]) == []
    (sentence,) = missed([run(seed=0, trained=0.9180), run(seed=1, trained=0.9179)])
    assert sentence == "trained int8 of resnet8 has 91.80%, post-training int8 91.80%, on the mean of 2 seeds"


def test_four_bits_may_lose_half_a_point():
    assert missed([run(bits=4, trained=0.9121)]) == []
    assert missed([run(bits=4, trained=0.9119)]) == [
        "trained int4 of resnet8 has 91.19%, float 91.70%, on the mean of 1 seeds"
    ]


def test_a_new_run_takes_the_place_of_the_old_one_of_its_net_bits_seed_and_engine():
    old = [
        run("depthwise_separable"),
        run(bits=4),
        run(seed=1),
        run(seed=0, trained=0.1),
        run(engine="tfmot"),
    ]
    found = merged(old, [run(seed=0, trained=0.9)])
    assert [(one.model, one.weight_bits, one.engine, one.seed, one.trained_score) for one in found] == [
        ("resnet8", 8, "keras", 0, 0.9),
        ("resnet8", 8, "keras", 1, 0.92),
        ("resnet8", 8, "tfmot", 0, 0.92),
        ("resnet8", 4, "keras", 0, 0.92),
        ("depthwise_separable", 8, "keras", 0, 0.92),
    ]
