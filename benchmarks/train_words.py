"""Train the bundled LSTM that tells the language of a word: `make train-words`.

Five epochs on 300,000 words of six languages (`slimedge.benchmarks.words` says which), some minutes. Needs Debian's
word lists, packages wamerican, wngerman, wfrench, wspanish, witalian and wdutch.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from slimedge.benchmarks import words
from slimedge.benchmarks.bundled import write_result
from slimedge.benchmarks.demo import FOLDER, WORDS_MODEL
from slimedge.benchmarks.models import word_lstm
from slimedge.benchmarks.training import train


def main() -> None:
    """Train, and write the model and what came out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=words.FOLDER, help="folder with the six word lists")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    train_data, test_data = words.read(given.data, seed=given.seed)
    result = train(word_lstm, FOLDER / WORDS_MODEL, train_data, test_data, given.seed)
    examples = {"train": len(train_data[0]), "test": len(test_data[0])}
    write_result("train_words", {"examples": examples, **result})
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
