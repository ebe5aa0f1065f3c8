"""The README's tables of accuracy, from the files of results."""

from __future__ import annotations

from functools import partial
from statistics import mean

from table_making import NETS, NONE, of, percent, table

from slimedge.benchmarks.models import AUTOENCODERS


def full_set(found):
    def row(what, value, key=None):
        return (what, *(NONE if key and net[key] is None else value(net) for net in found["nets"]))

    def accuracy(file):
        return row(f"accuracy, {file}", lambda net: percent(net["accuracy"][file.lower()]), "accuracy")

    def error(file):
        caption = f"mean squared error of a pixel, {file}"
        return row(caption, lambda net: f"{net['squared_error'][file.lower()]:.5f}", "squared_error")

    def pair(net, key, one, other):
        return net[key][f"{one} / {other}"]

    files = [f"{kind} {name}" for kind in ("float", "int8") for name in ("ONNX", "TFLite")]
    return table(
        f"Fashion-MNIST, all {found['nets'][0]['examples']:,} test images ([full_set.json]"
        "(benchmarks/results/full_set.json))",
        [NETS[net["model"]] for net in found["nets"]],
        *map(accuracy, files),
        *map(error, files),
        *(
            row(
                f"bytes of int8 over float, {name}",
                lambda net, name=name: f"{net['bytes_share'][name.lower()]:.3f}",
            )
            for name in ("ONNX", "TFLite")
        ),
        *(
            row(
                f"convolutions and dense layers on integers, {name}",
                lambda net, name=name: of(net["heavy_ops"][f"int8 {name.lower()}"]),
            )
            for name in ("ONNX", "TFLite")
        ),
        *(
            row(
                f"all operators on integers, the two ends apart, {name}",
                lambda net, name=name: of(inner(net["ops"][f"int8 {name.lower()}"])),
            )
            for name in ("ONNX", "TFLite")
        ),
        *(
            row(
                f"same class as the int8 Keras graph, 2,000 images, {name}",
                lambda net, name=name: percent(pair(net, "agreement", "int8 keras", f"int8 {name.lower()}")),
                "agreement",
            )
            for name in ("ONNX", "TFLite")
        ),
        row(
            "largest difference of a number in the output, Keras and ONNX",
            lambda net: f"{pair(net, 'largest_difference', 'int8 keras', 'int8 onnx'):.3f}",
        ),
        row(
            "largest difference of a number in the output, ONNX and TFLite",
            lambda net: f"{pair(net, 'largest_difference', 'int8 onnx', 'int8 tflite'):.3f}",
        ),
    )


def inner(counts):
    """Without the QuantizeLinear at the input and the DequantizeLinear at the output."""
    return counts[0], counts[1] - 2


def pruned(found):
    def name(run):
        pattern, sparsity = run["kind"].split()
        return f"{100 * float(sparsity):g} % zeros" if pattern == "unstructured" else f"{pattern} pattern"

    def row(what, value):
        return (what, *map(value, runs))

    def points(run):
        value, low, high = (f"{100 * part:+.2f}" for part in run["difference"])
        return f"{value} ({low} to {high})"

    runs = found["runs"]
    return table(
        f"ResNet-8 pruned, all {runs[0]['examples']:,} test images of Fashion-MNIST ([pruned.json]"
        "(benchmarks/results/pruned.json))",
        [f"{name(run)}, seed {run['seed']}" if run["seed"] else name(run) for run in runs],
        row("accuracy, float and dense", lambda run: percent(run["float_accuracy"])),
        row("accuracy, float and pruned", lambda run: percent(run["pruned_accuracy"])),
        row("points that this adds, with their 95 % interval", points),
        row("epochs of training", lambda run: f"{run['recipe']['epochs']}"),
        *(
            row(f"{what}, {label}", lambda run, key=key, kind=kind: percent(run[key][kind]))
            for what, key in (
                ("accuracy, int8 and pruned", "int8_accuracy"),
                ("zeros among the int8 weights", "int8_zeros"),
                ("bytes after gzip over those of the dense int8 file", "gzip_share"),
            )
            for kind, label in (("onnx", "ONNX"), ("tflite", "TFLite"))
        ),
    )


def qat(found):
    names = list(dict.fromkeys(run["model"] for run in found["runs"]))

    def cell(name, scores):
        form = "{:.5f}".format if name in AUTOENCODERS else percent
        return f"{form(mean(scores))} ({len(scores)})" if scores else "–"

    def row(what, bits, score, engine="keras"):
        chosen = {
            name: [
                run[score]
                for run in found["runs"]
                if (run["model"], run["weight_bits"], run["engine"]) == (name, bits, engine)
            ]
            for name in names
        }
        return (what, *(cell(name, scores) for name, scores in chosen.items()))

    return table(
        "accuracy on all of Fashion-MNIST's test images, or squared error of a pixel, mean (of so many seeds) "
        "([qat.json](benchmarks/results/qat.json))",
        [NETS[name] for name in names],
        row("float", 8, "float_score"),
        row("int8, post-training", 8, "post_training_score"),
        row("int8, trained for two epochs", 8, "trained_score"),
        row("the same by TFMOT, ranges as calibrated", 8, "trained_score", "tfmot"),
        row("the same by TFMOT, ranges from -6…6", 8, "trained_score", "tfmot_uncalibrated"),
        row("4-bit weights, trained for two epochs", 4, "trained_score"),
    )


def qat_recipe(found):
    def row(recipe, gain):
        rate, epochs = recipe.split(", epochs ")
        return (
            f"rate {float(rate):g}, {epochs} epoch{'s' * (epochs != '1')}",
            f"{100 * gain['mean']:+.2f} ± {100 * gain['standard_error']:.2f}",
            str(gain["runs"]),
        )

    return table(
        "points that training adds to post-training int8 on the 5,000 held-out images ([qat_recipe.json]"
        "(benchmarks/results/qat_recipe.json))",
        ["mean ± standard error", "nets and seeds"],
        *(row(*each) for each in found["gains"].items()),
    )


def words(found):
    def row(what, values, form):
        return (what, *(form(values[kind]) for kind in ("onnx", "tflite")))

    def accuracy(kind):
        return {form: found["accuracy"][f"{kind} {form}"] for form in ("onnx", "tflite")}

    return table(
        f"the language of a word, {found['examples']:,} test words ([words.json]"
        "(benchmarks/results/words.json))",
        ["ONNX", "TFLite"],
        row("accuracy, float", accuracy("float"), percent),
        row("accuracy, quantized", accuracy("quantized"), percent),
        row("bytes of quantized over float", found["bytes_share"], lambda share: f"{share:.3f}"),
    )


def weight_only(found):
    kinds = {"onnx": "ONNX", "tflite": "TFLite"}
    forms = [form for form in found["nets"][0]["accuracy"]["onnx"] if form != "float"]

    def row(what, value):
        return (what, *(value(net) for net in found["nets"]))

    def figures(net, kind, form):
        share, ratio = net["bytes_share"][kind][form], net["time_ratio"][kind][form]["value"]
        return f"{percent(net['accuracy'][kind][form])} / {share:.2f} / {ratio:.2f}"

    return table(
        "weights: accuracy / bytes over float / latency over float ([weight_only.json]"
        "(benchmarks/results/weight_only.json))",
        ["ResNet-8", "depthwise-separable net", "word's language"],
        row("float", lambda net: percent(net["accuracy"]["onnx"]["float"])),
        *(
            row(f"{form}, {name}", partial(figures, kind=kind, form=form))
            for form in forms
            for kind, name in kinds.items()
        ),
    )


def observer_effect(found):
    nets = found["nets"]
    return table(
        f"int8 by observer, {found['calibration_examples']} calibration images ([observer_effect.json]"
        "(benchmarks/results/observer_effect.json))",
        [NETS[net["model"]] for net in nets],
        ("float", *(percent(net["float_accuracy"]) for net in nets)),
        *(
            (
                f"`{name}`",
                *(
                    f"{percent(net['observers'][name]['accuracy'])}, "
                    f"{net['observers'][name]['sqnr_db']:.1f} dB"
                    for net in nets
                ),
            )
            for name in nets[0]["observers"]
        ),
    )


def method_effect(found):
    runs = found["runs"]
    nets = [name for name in NETS if any(run["model"] == name for run in runs)]
    rows = dict.fromkeys(
        (run["scheme"], run["granularity"], tuple(run["methods"])) for run in runs if run["model"] in nets
    )

    def cell(model, *row):
        run = next(
            run
            for run in runs
            if (run["model"], run["scheme"], run["granularity"], tuple(run["methods"])) == (model, *row)
        )
        return f"{percent(run['accuracy'])}, {run['sqnr_db']:.1f} dB"

    copies = [run for run in runs if run["model"] not in nets]
    return table(
        f"methods, {found['calibration_examples']} calibration images ([method_effect.json]"
        "(benchmarks/results/method_effect.json))",
        [NETS[name] for name in nets],
        (
            "float",
            *(percent(next(run["float_accuracy"] for run in runs if run["model"] == name)) for name in nets),
        ),
        *((f"`{row[0]}`, {named(row[2])}", *(cell(name, *row) for name in nets)) for row in rows),
        *(
            (f"channels scaled apart, per tensor, {named(run['methods'])}", "–", percent(run["accuracy"]))
            for run in copies
        ),
    )


def activation_bits(found):
    runs = found["runs"]
    nets = list(dict.fromkeys(run["model"] for run in runs))
    kinds = {"keras": "Keras graph", "onnx": "ONNX", "tflite": "TFLite"}

    def row(what, scheme, value):
        chosen = {run["model"]: run for run in runs if run["scheme"] == scheme}
        return (f"{what}, `{scheme}`", *(value(chosen[name]) for name in nets))

    def agreement(run):
        return percent(min(run["agreement"].values()))

    schemes = list(dict.fromkeys(run["scheme"] for run in runs))
    return table(
        f"bits of activations, {found['calibration_examples']} calibration images, {runs[0]['examples']:,} test images "
        "([activation_bits.json](benchmarks/results/activation_bits.json))",
        [NETS[name] for name in nets],
        (
            "accuracy, float",
            *(percent(next(r for r in runs if r["model"] == name)["float_accuracy"]) for name in nets),
        ),
        *(
            row(f"accuracy, {name}", scheme, lambda run, kind=kind: percent(run["accuracy"][kind]))
            for kind, name in kinds.items()
            for scheme in schemes
        ),
        *(row("SQNR against float", scheme, lambda run: f"{run['sqnr_db']:.1f} dB") for scheme in schemes),
        *(row("same class, the lowest of the three pairs", scheme, agreement) for scheme in schemes),
    )


def named(methods):
    return ", ".join(f"`{method}`" for method in methods) or "no method"


def bit_budget(found):
    names = list(dict.fromkeys(run["model"] for run in found["runs"]))
    by_methods = {}
    for run in found["runs"]:
        by_methods.setdefault("+".join(run["methods"]) or "nearest integers", {})[run["model"]] = run

    def row(what, runs, cell):
        return (what, *(cell(runs[name]) if name in runs else NONE for name in names))

    def layers(run):
        return ", ".join(
            f"{number} of {bits}{' bits' if bits.isdigit() else ''}" for bits, number in run["layers"].items()
        )

    budget = found["runs"][0]["max_accuracy_drop"]
    rows = [
        row("accuracy, float", next(iter(by_methods.values())), lambda run: percent(run["float_accuracy"]))
    ]
    for methods, runs in by_methods.items():
        rows += [
            row(f"accuracy, {methods}", runs, lambda run: percent(run["accuracy"])),
            row(f"bits a weight, {methods}", runs, lambda run: f"{run['mean_bits']:.2f}"),
            row(f"layers, {methods}", runs, layers),
        ]
    return table(
        f"bits chosen for at most {budget:g} points, all of Fashion-MNIST's test images ([bit_budget.json]"
        "(benchmarks/results/bit_budget.json))",
        [NETS[name] for name in names],
        *rows,
    )
