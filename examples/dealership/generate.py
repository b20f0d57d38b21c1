"""Make the dealership's daily files anew: ``python generate.py``; the same bytes every time."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

_DAYS = 5
_CUSTOMERS = 40
_FIRST_DAY = datetime(2024, 3, 4, tzinfo=UTC)
_MODELS = {
    "Bronco": "suv",
    "F-150": "truck",
    "Silverado": "truck",
    "Tahoe": "suv",
    "Tundra": "truck",
}
_VIN = "0123456789ABCDEFGHJKLMNPRSTUVWXYZ"  # a VIN has no I, O and Q
_NAMES = ("Ada", "Björn", "Chloé", "Dmitri", "Eun-ji", "Fatima", "Goran", "Hana")


def customers(chance: random.Random) -> list[list[object]]:
    """Everybody who ever bought something."""
    return [
        [n, chance.choice(_NAMES), f"customer{n}@example.com", f"+1-555-01{n:02d}"]
        for n in range(1, _CUSTOMERS + 1)
    ]


def purchases(chance: random.Random, day: int) -> list[list[object]]:
    """One day's sales, with prices in dollars and cents."""
    rows: list[list[object]] = []
    for n in range(8 + day % 3):
        model = chance.choice(sorted(_MODELS))
        at = _FIRST_DAY + timedelta(days=day, hours=9 + n, minutes=chance.randrange(60))
        vin = "".join(chance.choices(_VIN, k=17))
        price = f"{chance.randrange(28_000, 92_000)}.{chance.randrange(100):02d}"
        buyer = chance.randrange(1, _CUSTOMERS + 1)
        rows.append([day * 100 + n + 1, at.isoformat(), buyer, vin, model, _MODELS[model], price])
    return rows


def disputes(chance: random.Random, sold: Sequence[Sequence[object]]) -> list[list[object]]:
    """Some sales that came back; only a return for refund pays money back."""
    rows: list[list[object]] = []
    for n, sale in enumerate(sold[::6], start=1):
        kind = chance.choice(("cancellation", "return_for_refund", "return_without_refund"))
        opened = (_FIRST_DAY + timedelta(days=7 + n)).date().isoformat()
        refund = sale[-1] if kind == "return_for_refund" else ""
        rows.append([n, sale[0], opened, kind, refund])
    return rows


def write(path: Path, header: str, rows: Iterable[Sequence[object]]) -> None:
    """One file, with line feeds on every system."""
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(header.split(","))
        out.writerows(rows)


def generate(folder: Path) -> None:
    """Write all files into the folder."""
    chance = random.Random(20240304)  # noqa: S311 - made-up data, no secret
    folder.mkdir(exist_ok=True)
    write(folder / "customers.csv", "customer_id,first_name,email,phone", customers(chance))
    sold: list[list[object]] = []
    header = "purchase_id,purchased_at,customer_id,vin,model,body,price"
    for day in range(_DAYS):
        rows = purchases(chance, day)
        date = (_FIRST_DAY + timedelta(days=day)).date()
        write(folder / f"purchases-{date}.csv", header, rows)
        sold += rows
    header = "dispute_id,purchase_id,opened_on,kind,refund"
    write(folder / "disputes.csv", header, disputes(chance, sold))


if __name__ == "__main__":
    generate(Path(__file__).resolve().parent / "landing")
