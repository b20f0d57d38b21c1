"""Write modes, growing schemas, malformed rows, and odd names, through the door."""

import json

from pyiceberg.catalog.sql import SqlCatalog

from tests.e2e.conftest import PIPELINE


def pipeline(shop, write="{mode: append}", on_change="strict", extra=""):
    text = PIPELINE.format(write=write, on_change=on_change)
    shop.write("pipelines/orders.yml", text + extra)


def rows(shop, sql="select id, amount from shop.orders order by id"):
    return [tuple(r.values()) for r in shop.query(sql)]


def test_replace_puts_the_input_in_place_of_everything(shop):
    pipeline(shop, "{mode: replace}")
    shop.orders("orders-1.csv", range(10))
    shop.result("orders")
    (shop.root / "data" / "orders-1.csv").unlink()
    shop.orders("orders-2.csv", range(3))
    result = shop.result("orders")
    assert result["rows"]["published"] == 3
    assert len(rows(shop)) == 3
    assert shop.result("orders")["nothing_new"] is True


def test_replace_where_a_filter_matches_keeps_the_rest(shop):
    shop.orders("orders-1.csv", range(10))
    shop.result("orders")
    pipeline(shop, "{mode: replace, where: 'id >= 5'}")
    shop.orders("orders-2.csv", range(5, 8), amount="9.99")
    result = shop.result("orders")
    assert result["rows"]["kept"] == 5
    assert [r[0] for r in rows(shop)] == list(range(8))
    assert {r[1] for r in rows(shop)[5:]} == {"9.99"}


def test_replace_of_a_data_interval(shop):
    pipeline(shop, "{mode: replace, interval: placed}")
    shop.orders("orders-1.csv", range(5), placed="2026-01-01")
    shop.orders("orders-2.csv", range(5, 10), placed="2026-01-02")
    shop.result("orders")
    shop.orders("orders-1.csv", range(5), placed="2026-01-01", amount="7.00")
    result = shop.result("orders", "--start", "2026-01-01", "--end", "2026-01-02")
    assert result["rows"]["staged"] == 5
    assert result["rows"]["discarded"] == 5
    assert [r[1] for r in rows(shop)] == ["7.00"] * 5 + [f"{i}.50" for i in range(5, 10)]


def test_interval_without_a_column_is_a_usage_error(shop):
    shop.orders("orders-1.csv", range(5))
    done = shop.run("orders", "--start", "2026-01-01", "--end", "2026-01-02")
    assert done.returncode == 2
    assert "interval" in done.stderr


def test_new_column_is_invisible_until_it_is_published(shop):
    shop.orders("orders-1.csv", range(3))
    shop.result("orders")
    pipeline(shop, on_change="evolve")
    shop.write("data/orders-2.csv", "id,customer,amount,placed,note\n1,a,1.00,2026-01-01,hello\n")
    rejected = shop.result("orders", code=1)
    assert rejected["checks"]["failed"] == 1
    catalog = SqlCatalog("shop", uri=f"sqlite:///{shop.root}/.wap/catalog.db",
                         warehouse=f"file://{shop.root}/warehouse")  # fmt: skip
    assert "note" not in catalog.load_table("shop.orders").schema().column_names
    shop.write("data/orders-2.csv", "id,customer,amount,placed,note\n9,a,1.00,2026-01-01,hello\n")
    assert shop.result("orders")["ending"] == "published"
    assert rows(shop, "select id, note from shop.orders order by id") == [
        (0, None), (1, None), (2, None), (9, "hello"),
    ]  # fmt: skip
    assert "note" in catalog.load_table("shop.orders").schema().column_names


def test_malformed_rows_are_set_aside_when_the_pipeline_says_so(shop):
    pipeline(shop)
    path = shop.root / "pipelines" / "orders.yml"
    path.write_text(path.read_text().replace("format: csv}", "format: csv, malformed: set_aside}"))
    shop.write(
        "data/orders-1.csv",
        "id,customer,amount,placed\n1,a,1.00,2026-01-01\nx,b,2.00,2026-01-01\n"
        "3,c,3.00,2026-01-01,more\n4,d,4.00,2026-01-01\n",
    )
    result = shop.result("orders")
    assert result["rows"]["read"] == 4
    assert result["rows"]["staged"] == 2
    assert result["rows"]["quarantined"] == 2
    assert [r[0] for r in rows(shop)] == [1, 4]
    kept = (shop.root / ".wap" / "rejects" / f"{result['run_id']}.jsonl").read_text()
    assert [json.loads(line)["line"] for line in kept.splitlines()] == [3, 4]
    story = json.loads((shop.root / result["report"]).with_suffix(".json").read_text())["run"]
    assert [(file.rsplit("/", 1)[-1], line) for file, line, _ in story["rejects"]] == [
        ("orders-1.csv", 3), ("orders-1.csv", 4),
    ]  # fmt: skip


def test_loaded_file_that_changed_is_not_loaded_twice_in_silence(shop):
    shop.orders("orders-1.csv", range(3))
    shop.result("orders")
    shop.orders("orders-1.csv", range(4))
    done = shop.run("orders")
    assert done.returncode == 3
    assert "orders-1.csv" in done.stdout
    assert len(rows(shop)) == 3


def test_zero_rows_are_a_batch_that_the_contract_may_refuse(shop):
    shop.write("data/orders-1.csv", "id,customer,amount,placed\n")
    result = shop.result("orders", code=1)
    assert result["rows"]["read"] == 0
    assert shop.files() == []


def test_odd_names_and_partitions(shop):
    shop.write(
        "pipelines/odd.yml",
        """\
table: shop.odd
source: {kind: files, path: "data/odd *.csv", format: csv}
write: {mode: append}
schema: {columns: {"a b.c": int, "sélect": string, "day": date}}
partitioning: ["month(day)", "bucket(4, a b.c)"]
contracts: [contracts/odd.yml]
""",
    )
    shop.write(
        "contracts/odd.yml",
        """\
dataset: wap/shop/odd
columns:
  - name: a b.c
    checks: [{missing: }]
  - name: sélect
    checks: [{invalid: {valid_values: ["x'y", "z"]}}]
checks: [{row_count: }]
""",
    )
    lines = [f"{i},{'z' if i % 2 else chr(39).join('xy')},2026-0{1 + i % 3}-01" for i in range(30)]
    shop.write("data/odd 'file'.csv", "\n".join(["a b.c,sélect,day", *lines]) + "\n")
    result = shop.result("odd")
    assert result["rows"]["published"] == 30
    assert shop.query('select count(distinct "a b.c") as n from shop.odd') == [{"n": 30}]
    assert len(shop.data_files()) > 3


def test_several_pipelines_side_by_side(shop):
    shop.orders("orders-1.csv", range(5))
    text = (shop.root / "pipelines" / "orders.yml").read_text()
    shop.write("pipelines/sales.yml", text.replace("shop.orders", "shop.sales").replace(
        "contracts/orders.yml", "contracts/sales.yml"))  # fmt: skip
    contract = (shop.root / "contracts" / "orders.yml").read_text()
    shop.write("contracts/sales.yml", contract.replace("shop/orders", "shop/sales"))
    done = shop.run("--all", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {r["table"]: r["ending"] for r in json.loads(done.stdout)} == {
        "shop.orders": "published", "shop.sales": "published",
    }  # fmt: skip
