"""The bundled demo: small trained classifiers and a sample of Fashion-MNIST (MIT, Zalando SE)."""

from __future__ import annotations

from pathlib import Path

from slimedge.data import Data

FOLDER = Path(__file__).resolve().parent
SAMPLE = "fashion_mnist_sample.npz"
MODEL = "resnet8.keras"
WORDS_MODEL = "word_language.keras"
# In the order of the labels, as the data set's authors name them.
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
# Where Debian's package dataset-fashion-mnist puts the full set.
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")


def load() -> tuple[Path, Data]:
    """Give the path of the bundled ResNet-8 and the sample: 1,000 training and 2,000 test images, labelled."""
    return FOLDER / MODEL, Data.load(FOLDER / SAMPLE, scale="1/255").with_class_names(CLASSES)
