"""Make the platform's deliveries anew: ``python generate.py``; the same bytes every time."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

_ACCOUNTS = 25
_DAYS = 4
_FIRST_DAY = datetime(2024, 6, 3, tzinfo=UTC)
_CURRENCIES = ("CHF", "EUR", "GBP", "JPY")


def accounts(chance: random.Random) -> bytes:
    """Master data as gzipped CSV; without a time stamp, so that the bytes stay the same."""
    text = io.StringIO()
    out = csv.writer(text, delimiter=";", lineterminator="\n")
    out.writerow(["account_id", "holder", "iban", "opened_on", "status"])
    for n in range(1, _ACCOUNTS + 1):
        opened = date(2015, 1, 1) + timedelta(days=chance.randrange(3000))
        iban = f"DE{chance.randrange(10, 99)}{chance.randrange(10**17, 10**18)}"
        out.writerow([f"A{n:04d}", f"Holder {n}", iban, opened, chance.choice(("closed", "open"))])
    return gzip.compress(text.getvalue().encode(), mtime=0)


def payments(chance: random.Random, day: int) -> bytes:
    """One day's payments as JSON lines; amounts are texts, so that no float touches money."""
    lines = []
    for n in range(30):
        at = _FIRST_DAY + timedelta(days=day, minutes=40 * n + chance.randrange(40))
        payer, payee = chance.sample(range(1, _ACCOUNTS + 1), 2)
        payment = {
            "payment_id": f"P{day}{n:04d}",
            "booked_at": at.isoformat(),
            "payer": f"A{payer:04d}",
            "payee": f"A{payee:04d}",
            "amount": f"{chance.randrange(1, 9000)}.{chance.randrange(100):02d}",
            "currency": chance.choice(_CURRENCIES),
        }
        lines.append(json.dumps(payment) + "\n")
    return "".join(lines).encode()


def rates(chance: random.Random) -> pa.Table:
    """Reference data: one rate per currency and day, against the dollar."""
    days = [(_FIRST_DAY + timedelta(days=n)).date() for n in range(_DAYS)]
    return pa.table(
        {
            "rate_date": pa.array([d for d in days for _ in _CURRENCIES], pa.date32()),
            "currency": pa.array(_CURRENCIES * len(days)),
            "rate": pa.array([round(chance.uniform(0.5, 2), 4) for _ in days for _ in _CURRENCIES]),
        }
    )


def generate(folder: Path) -> None:
    """Write all files into the folder."""
    chance = random.Random(20240603)  # noqa: S311 - made-up data, no secret
    folder.mkdir(exist_ok=True)
    (folder / "accounts.csv.gz").write_bytes(accounts(chance))
    for day in range(_DAYS):
        name = f"payments-{(_FIRST_DAY + timedelta(days=day)).date()}.ndjson"
        (folder / name).write_bytes(payments(chance, day))
    pq.write_table(rates(chance), folder / "fx_rates.parquet")


if __name__ == "__main__":
    generate(Path(__file__).resolve().parent / "landing")
