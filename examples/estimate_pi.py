"""Pi by throwing darts, as a PySpark script: plain Spark, which knows nothing of nodewise.

nodewise run --engine spark --nodes 2 -- python examples/estimate_pi.py --darts 2000000
nodewise compare examples/program.yaml
"""

import argparse
import random

from pyspark.sql import SparkSession


def hits(seed: int, darts: int) -> int:
    """How many of so many darts at a square land in its quarter circle."""
    throw = random.Random(seed).random  # noqa: S311
    return sum(throw() ** 2 + throw() ** 2 < 1 for _ in range(darts))


def main() -> None:
    """Throw all darts, in as many tasks as asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--darts", type=int, default=4_000_000)
    parser.add_argument("--tasks", type=int, default=16)
    options = parser.parse_args()
    each = options.darts // options.tasks
    spark = SparkSession.builder.appName("estimate pi").getOrCreate()
    found = spark.sparkContext.parallelize(range(options.tasks), options.tasks).map(lambda seed: hits(seed, each)).sum()
    print(f"pi is about {4 * found / (each * options.tasks):.4f}")
    spark.stop()


if __name__ == "__main__":
    main()
