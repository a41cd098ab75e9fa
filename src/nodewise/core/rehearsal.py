"""A short Spark application that uses what nodewise's nodes use; :mod:`nodewise.core.spark_classes` runs it.

Its exit status is that of its JVM. It ends with its standard input, and the JVM with it.
"""

from __future__ import annotations

import os
import sys
import threading

from pyspark import SparkConf, SparkContext

# Nothing here runs as one of these, but every node and the master do.
ELSEWHERE = (
    "org.apache.spark.deploy.master.Master",
    "org.apache.spark.deploy.master.ui.MasterWebUI",
    "org.apache.spark.deploy.worker.Worker",
    "org.apache.spark.deploy.worker.ExecutorRunner",
    "org.apache.spark.deploy.worker.ui.WorkerWebUI",
    "org.apache.spark.executor.CoarseGrainedExecutorBackend",
    "org.apache.spark.scheduler.cluster.StandaloneSchedulerBackend",
)


def main() -> int:
    """Shuffle and synchronise a few numbers through Python."""
    threading.Thread(target=end_with_input, daemon=True).start()
    context = SparkContext(conf=SparkConf().setMaster("local[1]").setAppName("nodewise rehearsal"))
    for name in ELSEWHERE:
        context._jvm.java.lang.Class.forName(name)
    factor = context.broadcast(2)
    pairs = context.parallelize(range(4), 2).map(lambda number: (number % 2, factor.value * number))
    pairs.reduceByKey(lambda one, other: one + other).collect()
    context.parallelize([0], 1).barrier().mapPartitions(lambda numbers: numbers).collect()
    gateway = context._gateway
    context.stop()
    gateway.shutdown()
    gateway.proc.stdin.close()
    return int(gateway.proc.wait())


def end_with_input() -> None:
    """End this process when whoever started it is gone."""
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
