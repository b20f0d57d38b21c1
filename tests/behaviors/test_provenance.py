"""Verify, reaudit and trials of contracts, over tables that real steps have published."""

from __future__ import annotations

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.errors import UnsealedError
from catalog.moves import remove_snapshots
from checks.contract import parse_contract
from checks.report import Outcome, Report
from tests.behaviors.published import CONTRACT, CUSTOMERS, ORDERS, PIPELINE, Shop, Template
from wap import evidence
from wap.errors import ConfigError, NotRepeatableError, RunNotFoundError
from wap.model import Ending
from wap.past import past_run, relation_of
from wap.proposed import table_of


@pytest.fixture(scope="module")
def templates() -> dict[str, Template]:
    return {}


@pytest.fixture(params=["sqlite", "nessie"])
def shop(
    request: pytest.FixtureRequest,
    templates: dict[str, Template],
    tmp_path_factory: pytest.TempPathFactory,
) -> Shop:
    server = request.getfixturevalue("nessie") if request.param == "nessie" else None
    if request.param not in templates:
        templates[request.param] = Template(tmp_path_factory.mktemp(request.param), server)
    return templates[request.param].again()


ON_SQLITE = pytest.mark.parametrize("shop", ["sqlite"], indirect=True)


# --- verify -------------------------------------------------------------------------------------


def test_a_chain_that_is_whole(shop):
    proof = shop.verify()
    assert (proof.unsealed, proof.notes) == ((), ())
    assert [(s.run_id, s.proved, s.ledger) for s in proof.seals] == [
        ("r2", True, "equal"), ("r1", True, "equal"),
    ]  # fmt: skip
    assert proof.sealed == 2
    assert proof.head == proof.seals[0].snapshot


@ON_SQLITE
@pytest.mark.parametrize(
    "change",
    [
        "update runs set report_digest = '0' where run_id = 'r1'",
        "update runs set contract_digest = '0' where run_id = 'r1'",
        "update runs set ending = 'rejected' where run_id = 'r1'",
        "update checks set outcome = 'failed' where run_id = 'r1' and kind = 'duplicate'",
        "update checks set measured = '9' where run_id = 'r1' and kind = 'duplicate'",
        "delete from checks where run_id = 'r1' and kind = 'duplicate'",
    ],
    ids=["report", "contracts", "ending", "outcome", "figure", "lost"],
)
def test_a_report_that_was_changed_in_the_ledger(shop, change):
    shop.sql(change)
    proof = shop.verify()
    assert [(u.code, u.run_id) for u in proof.unsealed] == [("ledger", "r1")]
    assert "rebuild-ledger" in proof.unsealed[0].hint
    assert proof.sealed == 1


@ON_SQLITE
def test_a_run_that_the_ledger_does_not_know_is_noted_and_stays_proved(shop):
    shop.sql("delete from runs where run_id = 'r1'")
    proof = shop.verify()
    assert proof.unsealed == ()
    assert [(n.code, n.run_id) for n in proof.notes] == [("ledger-missing", "r1")]
    assert proof.seals[1].ledger == "missing"


@pytest.mark.parametrize("how", ["changed", "removed"])
def test_evidence_that_was_tampered_with(shop, how):
    (file,) = shop.root.rglob("wap-evidence/r1-*.json")
    if how == "removed":
        file.unlink()
    else:
        file.write_text(file.read_text().replace('"read":10', '"read":11'))
    (found,) = shop.verify().unsealed
    assert (found.code, found.run_id) == ("evidence", "r1")
    assert str(file) in found.reason
    assert "backup" in found.hint


def test_evidence_and_seal_that_were_made_to_agree_on_another_report(shop):
    """The evidence is written anew with a changed report, and the seal is made to name it."""
    (file,) = shop.root.rglob("wap-evidence/r1-*.json")
    old = shop.verify().seals[1].evidence_digest
    noted: list[str] = []
    with shop.looking() as (looking, _):
        published = looking.catalog.published(ORDERS)
        seal = next(s for _, s in evidence.seals(looking.catalog, ORDERS) if s.run_id == "r1")
        proof = evidence.read(published.io, published.location, seal)
        report = json.loads(proof.report)
        report["results"][0]["measured"] = "something else"
        forged = proof.model_copy(update={"report": json.dumps(report)})
        new = evidence.write(published.io, published.location, "r1", forged, noted.append)
    shop.forge(old, new)
    assert shop.codes() == ["report"]
    assert file.exists()


def test_a_seal_of_a_report_that_did_not_pass(shop):
    """Every digest is made to agree, and the audit said no."""
    proved = shop.verify().seals[1]
    noted: list[str] = []
    with shop.looking() as (looking, _):
        published = looking.catalog.published(ORDERS)
        seal = next(s for _, s in evidence.seals(looking.catalog, ORDERS) if s.run_id == "r1")
        proof = evidence.read(published.io, published.location, seal)
        report = Report.from_json(proof.report)
        bad = report.results[0].model_copy(update={"outcome": Outcome.FAILED})
        failed = report.model_copy(update={"results": (bad, *report.results[1:])})
        facts = proof.facts.model_copy(update={"report_digest": failed.digest})
        told = {"report": failed.to_json(), "facts": facts}
        new = evidence.write(
            published.io, published.location, "r1", proof.model_copy(update=told), noted.append
        )
    shop.forge(proved.evidence_digest, new)
    shop.forge(proved.report_digest, failed.digest)
    (found,) = shop.verify().unsealed
    assert found.code == "report"
    assert "did not pass" in found.reason


def test_a_report_digest_that_was_forged_in_a_seal(shop):
    shop.forge(shop.verify().seals[0].report_digest, "f" * 64)
    (found,) = shop.verify().unsealed
    assert (found.code, found.run_id) == ("report", "r2")
    assert "the seal says" in found.reason


def test_a_seal_whose_audited_snapshot_is_no_number(shop):
    shop.forge(f'"wap.audited":"{shop.verify().seals[0].audited}"', '"wap.audited":"two"')
    assert shop.codes()[0] == "seal"


def _lists(shop: Shop) -> dict[str, list[str]]:
    """Manifest lists by run, the seal's first."""
    found: dict[str, list[str]] = {}
    for snapshot in reversed(json.loads(shop.metadata().read_text())["snapshots"]):
        run_id = snapshot["summary"].get("wap.run", "")
        found.setdefault(run_id, []).append(snapshot["manifest-list"])
    return found


def test_a_manifest_list_that_was_swapped_under_the_seal(shop):
    lists = _lists(shop)
    shop.forge(lists["r2"][0], lists["r1"][0])
    assert shop.codes() == ["seal", "unsealed", "unsealed", "manifests"]


def test_manifest_lists_that_were_swapped_for_a_whole_run(shop):
    """Seal and audited snapshot agree with each other, but not with what was audited."""
    lists = _lists(shop)
    for own in lists["r2"]:
        shop.forge(own, lists["r1"][0])
    (found,) = shop.verify().unsealed
    assert (found.code, found.run_id) == ("manifests", "r2")
    assert "no longer shown" in found.reason


def test_a_manifest_that_nobody_audited(shop):
    lists = _lists(shop)
    for own in lists["r1"]:
        shop.forge(own, lists["r2"][0])
    (found,) = shop.verify().unsealed
    assert (found.code, found.run_id) == ("manifests", "r1")
    assert "not audited" in found.reason


def test_a_manifest_that_was_written_over(shop):
    with shop.looking() as (looking, _):
        seals = shop.verify().seals
        new, old = (looking.catalog.made_of(ORDERS, s.snapshot) for s in seals)
    (mine,), (other,) = new - old, old
    shutil.copy(other.removeprefix("file://"), mine.removeprefix("file://"))
    (found,) = shop.verify().unsealed
    assert (found.code, found.run_id) == ("manifests", "r2")
    assert "changed" in found.reason


def test_an_append_by_somebody_else(shop):
    with shop.looking() as (looking, _):
        table = looking.catalog.iceberg.load_table(ORDERS.identifier)
        table.append(table.scan(limit=1).to_arrow())
    (found,) = shop.verify().unsealed
    assert (found.code, found.run_id) == ("foreign", None)
    assert "wap rollback" in found.hint


@ON_SQLITE
def test_a_report_file_that_was_changed(shop):
    file = shop.root / "reports" / "r1" / "report.json"
    file.write_text(file.read_text().replace('"outcome": "passed"', '"outcome": "warned"', 1))
    assert shop.codes() == ["report-file"]
    shutil.copy(shop.root / "reports" / "r2" / "report.json", file)
    assert shop.codes() == ["report-file"]
    shutil.rmtree(file.parent)
    assert shop.codes() == [], "a report that was cleared away is no lie"


# --- what a run says of a main that others wrote to ---------------------------------------------


def _foreign_append(shop: Shop) -> int:
    with shop.looking() as (looking, _):
        table = looking.catalog.iceberg.load_table(ORDERS.identifier)
        rows = table.scan(limit=1).to_arrow()
        table.append(rows.set_column(0, rows.schema.field(0), pa.array([50], pa.int64())))
        return looking.catalog.log(ORDERS)[0].id


def test_a_run_over_a_foreign_append_says_so(shop):
    foreign = _foreign_append(shop)
    shop.rows("orders-3.csv", 30)
    result = shop.run("r3")
    assert result.ending is Ending.PUBLISHED
    assert str(foreign) in result.warnings[0]
    assert shop.codes() == ["foreign"]


@ON_SQLITE
def test_a_run_that_refuses_what_others_wrote_stages_nothing(shop):
    _foreign_append(shop)
    pipeline = shop.root / "pipelines" / "orders.yml"
    pipeline.write_text(PIPELINE.format(name="orders", foreign="refuse"))
    shop.rows("orders-3.csv", 30)
    files = shop.warehouse()
    with pytest.raises(UnsealedError, match="main itself is tainted"):
        shop.run("r3")
    assert shop.warehouse() == files


# --- reaudit ------------------------------------------------------------------------------------


def test_an_audit_again_comes_to_the_same(shop):
    shop.rows("customers-2.csv", *range(100, 200))
    shop.run("c2", "customers")
    shop.rows("orders-3.csv", 150)
    shop.run("r3")
    for run_id in ("r1", "r2", "r3", "c1", "c2"):
        found = shop.reaudit(run_id)
        assert (found.equal, found.differences, found.errors) == (True, (), ())
        assert found.digest == found.sealed_digest


@ON_SQLITE
def test_the_clock_of_an_audit_again_stands_where_it_stood(shop):
    contracts = [parse_contract(CONTRACT, "c.yml")]
    with shop.looking() as (looking, _):
        seal = looking.catalog.log(ORDERS)[0]
        past = past_run(looking.catalog, ORDERS, seal.id)
        with relation_of(looking, past, contracts) as relation:
            assert relation.at == past.report.started_at < seal.committed_at
            assert dict(relation.neighbours) == dict(past.report.neighbours) != {}


@ON_SQLITE
def test_an_audit_again_looks_at_other_tables_as_they_were(shop):
    """Main of the neighbour shows fewer rows now, which the contract would reject."""
    with shop.looking() as (looking, _):
        table = looking.catalog.iceberg.load_table("shop.customers")
        table.overwrite(table.scan(limit=5).to_arrow())
    assert shop.reaudit("r2").equal
    shop.rows("orders-3.csv", 30)
    assert shop.run("r3").ending is Ending.REJECTED


@ON_SQLITE
def test_an_audit_again_of_rows_that_were_changed_differs(shop):
    (file,) = (shop.root / "warehouse").rglob("data/r2/*.parquet")
    rows = pq.read_table(file)
    ids = pa.array([None, *range(11, 20)], pa.int64())
    pq.write_table(rows.set_column(0, rows.schema.field(0), ids), file)
    found = shop.reaudit("r2")
    assert not found.equal
    (missing,) = [d for d in found.differences if d.check.endswith("missing")]
    assert (missing.sealed.outcome, missing.again.outcome) == ("passed", "failed")
    assert shop.reaudit("r1").equal


@ON_SQLITE
def test_what_cannot_be_audited_again(shop):
    with pytest.raises(RunNotFoundError):
        shop.reaudit("r9")
    shop.rows("orders-3.csv", 1)
    assert shop.run("r3").ending is Ending.REJECTED
    with pytest.raises(NotRepeatableError, match="only what was published"):
        shop.reaudit("r3")
    (file,) = shop.root.rglob("wap-evidence/r1-*.json")
    file.unlink()
    with pytest.raises(NotRepeatableError, match="evidence is damaged"):
        shop.reaudit("r1")


def _expire(shop: Shop, *runs: str, roles: tuple[str, ...] = ("stage", "open")) -> None:
    """Remove a run's snapshots, by default those below its seal, as another program may."""
    with shop.looking() as (looking, _):
        catalog = looking.catalog.iceberg
        table = catalog.load_table(ORDERS.identifier)
        told = [(s, s.summary.additional_properties) for s in table.metadata.snapshots]
        gone = [s for s, t in told if t.get("wap.run", "") in runs and t["wap.role"] in roles]
        catalog.commit_table(table, (), (remove_snapshots(gone),))


@ON_SQLITE
def test_what_has_expired_is_said_so(shop):
    shop.rows("orders-3.csv", 30)
    _expire(shop, "r2")
    with pytest.raises(NotRepeatableError, match="expired"):
        shop.reaudit("r2")
    found = shop.propose(CONTRACT)
    assert [t.verdict for t in found.trials] == ["unknown"]
    assert shop.codes() == ["expired"]
    assert shop.run("r3").ending is Ending.PUBLISHED, "expiry is no run's fault"


@ON_SQLITE
def test_after_an_expiry_of_whole_runs_the_rest_is_proved(shop):
    _expire(shop, "r1", "", roles=("seal", "stage", "open", "bootstrap"))
    proof = shop.verify()
    assert (proof.unsealed, [s.run_id for s in proof.seals]) == ((), ["r2"])
    assert shop.reaudit("r2").equal
    with pytest.raises(NotRepeatableError, match="expired"):
        shop.reaudit("r1")
    text = CONTRACT.replace("orders\n", "orders__published\n", 1)
    (trial,) = shop.propose(text).trials
    assert (trial.run_id, trial.verdict) == ("r2", "unknown")
    assert "no longer kept" in trial.reason


@ON_SQLITE
def test_a_run_that_was_rolled_back_behind_can_be_audited_again(shop):
    first, second = (s.snapshot for s in reversed(shop.verify().seals))
    with shop.looking() as (looking, _):
        looking.catalog.rollback(ORDERS, first, second)
    assert shop.reaudit("r2").equal


# --- what a proposed contract would have blocked ------------------------------------------------


def test_what_a_proposed_contract_would_have_blocked(shop):
    text = CONTRACT.replace("- missing:", "- invalid: {valid_max: 14}")
    files = shop.warehouse()
    found = shop.propose(text)
    assert shop.warehouse() == files
    assert [(t.run_id, t.verdict) for t in found.trials] == [("r2", "blocks"), ("r1", "passes")]
    (bad,) = found.trials[0].bad
    assert (bad.failing_rows, bad.tested_rows) == (5, 20)
    assert {row["mail"] for row in bad.sample} == {"•••"}
    assert all(int(row["id"]) > 14 for row in bad.sample)
    assert [t.run_id for t in shop.propose(text, last=1).trials] == ["r2"]
    masked = shop.propose(text, 1, "at").trials[0].bad[0].sample
    assert {row["at"] for row in masked} == {"•••"}, "what is masked today is masked there too"
    assert shop.verify().unsealed == ()


@ON_SQLITE
def test_a_proposed_contract_sees_batch_and_published_as_they_were(shop):
    batch = "dataset: wap/shop/orders__batch\ncolumns:\n- name: id\nchecks:\n- row_count: {}\n"
    limit = batch.replace("row_count: {}", "row_count: {threshold: {must_be: 10}}")
    assert [t.verdict for t in shop.propose(limit).trials] == ["passes", "passes"]
    before = limit.replace("__batch", "__published")
    assert [t.verdict for t in shop.propose(before).trials] == ["passes", "blocks"]
    assert shop.propose(before).trials[1].bad[0].measured.startswith("0 rows")


@ON_SQLITE
def test_contracts_of_two_tables_are_not_tried_together(shop):
    contracts = [parse_contract(t, "c.yml") for t in (CONTRACT, CUSTOMERS)]
    with pytest.raises(ConfigError, match="several tables"):
        table_of(contracts)
