"""All sides of the benchmark in one go, as a Markdown table: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.data import lineitem, rows_of
from benchmarks.machine import described
from benchmarks.measuring import Result, measure
from benchmarks.sides import SIDES, Side


def main() -> None:
    arguments = _arguments()
    print(f"{described()}\n")
    for scale in arguments.scale:
        for form in arguments.format:
            source = lineitem(scale, form)
            rows = rows_of(scale)
            print(f"### lineitem, scale factor {scale:g}, {form} in: {rows:,} rows, "
                  f"{source.stat().st_size / 1e9:.2f} GB\n")  # fmt: skip
            wanted = [s for s in SIDES if s.name in arguments.sides and s.suits(scale)]
            _print_table(_results(wanted, source, form, rows, arguments.repeat))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--scale", type=float, nargs="+", default=[1, 10])
    parser.add_argument("--format", nargs="+", default=["parquet", "csv"])
    parser.add_argument(
        "--repeat", type=int, default=3, help="runs of each side; the median counts"
    )
    names = [side.name for side in SIDES]
    parser.add_argument("--sides", nargs="+", default=names, choices=names)
    return parser.parse_args()


def _results(
    sides: list[Side], source: Path, form: str, rows: int, repeat: int
) -> list[tuple[Side, Result]]:
    """The sides take turns, so that a slow minute of the machine hits all of them."""
    runs: dict[str, list[Result]] = {side.name: [] for side in sides}
    for turn in range(repeat):
        for side in sides:
            with side.prepared(source, form) as command:
                result = measure(command, side.beside)
            if result.failed:
                print(f"{side.name}: {result.output[-2000:]}", file=sys.stderr)
            else:
                side.check(result, rows)
            runs[side.name].append(result)
            print(f"{turn + 1}/{repeat} {side.name}: {result}", file=sys.stderr)
    return [(side, _median(runs[side.name])) for side in sides]


def _median(results: list[Result]) -> Result:
    return sorted(results, key=lambda r: r.seconds)[len(results) // 2]


def _print_table(results: list[tuple[Side, Result]]) -> None:
    floor = next((r for s, r in results if s.name == "floor" and not r.failed), None)
    print("| side | wall s | × floor | cpu s | × floor | peak MB |")  # noqa: RUF001 - a factor
    print("|---|---:|---:|---:|---:|---:|")
    for side, result in results:
        if result.failed:
            print(f"| {side.title} | failed: {result.reason} | | | | {result.peak_mb:,.0f} |")
            continue
        wall = f"{result.seconds / floor.seconds:.2f}" if floor else ""
        cpu = f"{result.cpu / floor.cpu:.2f}" if floor else ""
        print(f"| {side.title} | {result.seconds:.1f} | {wall} | {result.cpu:.1f} | {cpu} "
              f"| {result.peak_mb:,.0f} |")  # fmt: skip
    print()


if __name__ == "__main__":
    main()
