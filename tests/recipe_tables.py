"""The README's tables of distillation and of whole recipes, from the files of results."""

from __future__ import annotations

from table_making import percent, table


def distilled(found):
    told = found["summary"]
    low, high = (100 * end for end in told["interval"])
    share = f"{100 * told['macs_share']:.1f} %"
    return table(
        "a student of ResNet-8, all of Fashion-MNIST's test images "
        "([distilled.json](benchmarks/results/distilled.json))",
        [f"mean of {told['seeds']} seeds"],
        ("multiply-accumulates of ResNet-8's", share),
        ("accuracy of ResNet-8, the teacher", percent(told["teacher"])),
        ("accuracy of the student trained alone", percent(told["alone"])),
        ("accuracy of the student distilled", percent(told["distilled"])),
        ("points that the teacher adds", f"{100 * told['gain']:+.2f} ({low:+.2f} to {high:+.2f})"),
    )


NAMES = {
    "resnet8": "ResNet-8, [resnet8.yaml](benchmarks/recipes/resnet8.yaml)",
    "balanced": "depthwise-separable net, preset `balanced`",
}


def recipes(found):
    runs = found["runs"]

    def interval(values, form, unit=""):
        return f"{values[0]:{form}}{unit} ({values[1]:{form}} to {values[2]:{form}})"

    return table(
        "recipes on all of Fashion-MNIST, against the float TFLite file "
        "([recipes.json](benchmarks/results/recipes.json))",
        [NAMES[run["case"]] for run in runs],
        ("speed in LiteRT", *(interval(run["speedup"], ".2f", "×") for run in runs)),
        ("times smaller", *(f"{run['shrinking']:.1f}" for run in runs)),
        ("accuracy, points", *(interval(run["accuracy_delta"], "+.2f") for run in runs)),
        ("quantized by", *(f"`{run['scheme']}`" for run in runs)),
        ("minutes on two cores", *(f"{run['seconds'] / 60:.0f}" for run in runs)),
    )
