"""The mean length of words, as a Ray script: plain Ray, which knows nothing of nodewise.

nodewise run --engine ray --nodes 2 -- python examples/word_lengths.py README.md docs/*.md
"""

import sys
from pathlib import Path

import ray


@ray.remote
def count(path: str) -> tuple[int, int]:
    """Words of a file, and letters in them."""
    words = Path(path).read_text().split()
    return len(words), sum(map(len, words))


def main() -> None:
    """Count every file in a task of its own."""
    ray.init()
    counts = ray.get([count.remote(path) for path in sys.argv[1:]])
    words, letters = map(sum, zip(*counts, strict=True))
    print(f"{words} words of {letters / words:.2f} letters")


if __name__ == "__main__":
    main()
