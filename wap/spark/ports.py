"""What a worker has for the runs that Spark carries."""

from __future__ import annotations

from dataclasses import dataclass

from wap.auditing import RelationOf
from wap.engines.base import Engine
from wap.spark.session import Spark


@dataclass(frozen=True)
class SparkPorts:
    """What carries the rows of runs that Spark takes; nothing is started before one comes.

    Attributes:
        engine: writes them.
        relation: opens what an audit of them looks at.
        spark: asks databases what there is to read.
    """

    engine: Engine
    relation: RelationOf
    spark: Spark
