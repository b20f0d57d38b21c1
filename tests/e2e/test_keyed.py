"""Merge, history and append without duplicates, through the door."""

import json
import signal

import pytest

PIPELINE = """\
table: shop.orders
source: {{kind: files, path: "data/orders-*.csv", format: csv}}
write: {write}
schema:
  columns: {{id: long, customer: string, amount: "decimal(12,2)", placed: date}}
contracts: [contracts/orders.yml]
tags: {{customer: [pii]}}
"""
CONTRACT = """\
dataset: wap/shop/orders
columns:
  - name: id
    checks: [{missing: }]
  - name: amount
    checks: [{invalid: {valid_min: 0}}]
checks: [{row_count: }]
"""
MERGE = "{mode: merge, keys: [id], delete: {column: op, values: [D]}}"


def declare(shop, write):
    shop.write("pipelines/orders.yml", PIPELINE.format(write=write))
    shop.write("contracts/orders.yml", CONTRACT)


def deliver(shop, number, *rows: str, op=True):
    head = "id,customer,amount,placed" + (",op" if op else "")
    return shop.write(f"data/orders-{number}.csv", "\n".join([head, *rows]) + "\n")


def by_id(shop):
    return [
        (r["id"], r["amount"]) for r in shop.query("select id, amount from shop.orders order by 1")
    ]


def counts(result):
    names = ("read", "staged", "inserted", "updated", "unchanged", "deleted", "deduplicated")
    return {name: result["rows"][name] for name in names if result["rows"][name]}


def test_merge_upserts_deletes_and_finds_nothing_new_in_the_same_batch(shop):
    declare(shop, MERGE)
    deliver(shop, 1, "1,a,1.00,2026-01-01,U", "2,b,2.00,2026-01-01,U", "3,c,3.00,2026-01-01,")
    assert counts(shop.result("orders")) == {"read": 3, "staged": 3, "inserted": 3}
    assert shop.result("orders")["nothing_new"] is True
    batch = [
        "1,a,1,2026-01-01,U",
        "2,b,2.50,2026-01-01,U",
        "3,,,,D",
        "9,,,,D",
        "4,d,4.00,2026-01-01,U",
    ]
    deliver(shop, 2, *batch)
    result = shop.result("orders")
    assert counts(result) == {
        "read": 5, "staged": 2, "inserted": 1, "updated": 1, "unchanged": 2, "deleted": 1,
    }  # fmt: skip
    assert by_id(shop) == [(1, "1.00"), (2, "2.50"), (4, "4.00")]
    story = json.loads((shop.root / result["report"]).with_suffix(".json").read_text())["run"]
    assert story["rows"]["deleted"] == 1
    files = shop.data_files()
    deliver(shop, 3, *batch)
    again = shop.result("orders")
    assert counts(again) == {"read": 5, "unchanged": 5}
    assert shop.data_files() == files
    assert json.loads(shop.wap("verify", "--json").stdout)["ok"] is True


def test_a_batch_whose_keys_are_ambiguous_is_rejected_and_leaves_nothing(shop):
    declare(shop, MERGE)
    deliver(shop, 1, "1,secret,1.00,2026-01-01,U", "1,other,2.00,2026-01-01,U")
    done = shop.run("orders")
    assert done.returncode == 1, done.stderr
    assert "1 key is in the batch more than once" in done.stdout
    assert "column id: '1' 2 times" in done.stdout
    assert shop.files() == []
    assert shop.branches() == []
    assert not list((shop.root / ".wap" / "runs").rglob("aside-*"))


def test_a_merge_that_the_audit_refuses_leaves_main_and_files_as_they_were(shop):
    declare(shop, MERGE)
    deliver(shop, 1, "1,a,1.00,2026-01-01,U", "2,b,2.00,2026-01-01,U")
    shop.result("orders")
    files = shop.files()
    deliver(shop, 2, "1,a,-1.00,2026-01-01,U")
    assert shop.result("orders", code=1)["ending"] == "rejected"
    assert by_id(shop) == [(1, "1.00"), (2, "2.00")]
    assert shop.data_files() == [f for f in files if f.endswith(".parquet")]


def test_append_leaves_out_what_is_there(shop):
    declare(shop, "{mode: append, keys: [id], deduplicate: true}")
    deliver(shop, 1, "1,a,1.00,2026-01-01", "1,a,1.00,2026-01-01", op=False)
    assert counts(shop.result("orders")) == {
        "read": 2, "staged": 1, "inserted": 1, "deduplicated": 1,
    }  # fmt: skip
    deliver(shop, 2, "1,a,9.00,2026-01-01", "2,b,2.00,2026-01-01", op=False)
    assert counts(shop.result("orders")) == {
        "read": 2, "staged": 1, "inserted": 1, "deduplicated": 1,
    }  # fmt: skip
    assert by_id(shop) == [(1, "1.00"), (2, "2.00")]


@pytest.mark.parametrize("recorded", [False, True])
def test_history_keeps_versions_and_what_was_known_when(shop, recorded):
    write = "{mode: history, keys: [id], order_by: placed"
    declare(shop, write + (", recorded: true}" if recorded else "}"))
    deliver(shop, 1, "1,a,1.00,2026-01-01", op=False)
    shop.result("orders")
    deliver(shop, 2, "1,a,1.00,2026-01-05", "1,a,3.00,2026-01-09", "2,b,2.00,2026-01-09", op=False)
    assert counts(shop.result("orders")) == {
        "read": 3, "staged": 2, "inserted": 1, "updated": 1, "unchanged": 1,
    }  # fmt: skip
    now = "where recorded_to is null" if recorded else ""
    found = shop.query(
        "select id, amount, valid_from, valid_to, is_current from shop.orders"
        f" {now} order by id, valid_from"
    )
    assert [tuple(r.values()) for r in found] == [
        (1, "1.00", "2026-01-01", "2026-01-09", False),
        (1, "3.00", "2026-01-09", None, True),
        (2, "2.00", "2026-01-09", None, True),
    ]
    if recorded:
        before = shop.query(
            "select valid_to, is_current from shop.orders where recorded_to is not null"
        )
        assert before == [{"valid_to": None, "is_current": False}]


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_merge_killed_while_it_stages_is_done_once(shop, when):
    declare(shop, MERGE)
    deliver(shop, 1, *(f"{i},a,1.00,2026-01-01,U" for i in range(50)))
    shop.result("orders")
    deliver(shop, 2, *(f"{i},a,2.00,2026-01-01,U" for i in range(40, 60)), "0,,,,D")
    killed = shop.run("orders", "--json", WAP_DRILL=f"stage:{when}")
    assert killed.returncode == -signal.SIGKILL
    result = shop.result("orders")
    assert counts(result) == {
        "read": 21, "staged": 20, "inserted": 10, "updated": 10, "deleted": 1,
    }  # fmt: skip
    assert by_id(shop) == [(i, "1.00" if i < 40 else "2.00") for i in range(1, 60)]
    assert shop.branches() == []
    # The first file stays for the snapshot before; one holds its other rows, one the batch.
    assert len(shop.data_files()) == 3
    assert not (shop.root / ".wap" / "runs" / result["run_id"]).exists()
