"""``SodaAuditor``: contracts on DuckDB or Spark, by Soda, with our own uniqueness and no trust."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from checks import soda_edge, words
from checks.base import Audit, Auditor, Relation
from checks.conditions import looked_at, view
from checks.contract import Contract
from checks.masking import MASK, engine_message, hides_value
from checks.report import CheckResult, Outcome
from checks.rules import Rule, relative_path
from checks.samples import ROWS, Sampled, failing_rows
from checks.soda_edge import Finding, Verdict
from checks.spark import REFUSALS
from checks.standing import is_clean, joined, standing
from checks.uniqueness import Key, Uniqueness, measure, measure_joined

_OUTCOMES = {"PASSED": Outcome.PASSED, "FAILED": Outcome.FAILED, "WARN": Outcome.WARNED}
_GOOD_STATUS = ("PASSED", "WARNED", "FAILED")
_FAILING = {
    "missing": "missing_count",
    "invalid": "invalid_count",
    "failed_rows": "failed_rows_count",
}


@dataclass(frozen=True, slots=True)
class SodaAuditor(Auditor):
    """Runs contracts with Soda on the relation's connection.

    Soda evaluates every check type but ``duplicate``, which :mod:`checks.uniqueness` counts.
    What Soda says is held against our own reading of the contract: a check too many or too few,
    another word than passed, failed or warned, an outcome that its own number contradicts, or
    another row count than the snapshot's is an error, and nothing passes with an error.

    Attributes:
        sample_rows: failing rows to show per check.
        verify: runs one contract; Soda, or in tests one that misbehaves.
    """

    sample_rows: int = ROWS
    verify: Callable[..., Verdict] = soda_edge.verify

    def warm(self) -> None:
        """Import Soda now: see :meth:`checks.base.Auditor.warm`."""
        soda_edge.api()

    def audit(self, relation: Relation, contracts: Sequence[Contract]) -> Audit:
        """See :meth:`checks.base.Auditor.audit`."""
        results: list[CheckResult] = []
        errors: list[str] = []
        for contract in contracts:
            found, complaints = self._contract(relation, contract)
            results += found
            errors += [f"{contract.path}: {text}" for text in complaints]
        return Audit(tuple(results), tuple(errors))

    def _contract(
        self, relation: Relation, contract: Contract
    ) -> tuple[list[CheckResult], list[str]]:
        reason = _misplaced(relation, contract) or soda_edge.deaf()
        if reason:
            return [_unknown(rule, relation, reason) for rule in contract.rules], [reason]
        results = self._by_parts(relation, contract)
        rest = [rule for rule in contract.rules if rule.name not in results]
        found, errors = self._evaluated(relation, contract, rest)
        results |= {r.name: self._with_sample(relation, contract, rule, r)
                    for rule, r in zip(rest, found, strict=True)}  # fmt: skip
        # Whoever turned the logs off meanwhile may have hidden an error of this very run.
        errors += filter(None, [soda_edge.deaf()])
        return [results[rule.name] for rule in contract.rules], errors

    def _by_parts(self, relation: Relation, contract: Contract) -> dict[str, CheckResult]:
        """The results that the batch alone decides, because the published rows are proved.

        Nothing when any of them is not clean: then all are measured on the whole table, which
        also has the rows to show.
        """
        rules = standing(contract, relation.table, relation.earlier)
        if not rules:
            return {}
        batch = replace(contract, relation=f"{relation.table}__batch")
        by_rows = [rule for rule in rules if rule.kind != "duplicate"]
        found, errors = self._evaluated(relation, batch, by_rows)
        if errors or not all(map(is_clean, found)):
            return {}
        return {
            rule.name: joined(result, relation.earlier[rule.name], relation.earlier_run)
            for rule, result in zip(by_rows, found, strict=True)
        }

    def _evaluated(
        self, relation: Relation, contract: Contract, rules: Sequence[Rule]
    ) -> tuple[list[CheckResult], list[str]]:
        """Some rules of a contract, each with its result, and whatever is odd about them."""
        by_soda = [rule for rule in rules if rule.kind != "duplicate"]
        verdict = self._run(relation, contract, by_soda) if by_soda else Verdict("PASSED")
        errors = list(_complaints(verdict, by_soda, relation, contract))
        findings = {finding.path: finding for finding in verdict.findings}
        results = []
        for rule in rules:
            if rule.kind == "duplicate":
                result, error = _count_keys(relation, contract, rule)
                errors += [error] if error else []
            else:
                result = _judged(relation, rule, findings.get(rule.relative_path), errors)
            results.append(result)
        return results, errors

    def _run(self, relation: Relation, contract: Contract, rules: Sequence[Rule]) -> Verdict:
        paths = {rule.relative_path for rule in rules}
        columns = [_only(column, paths, column["name"]) for column in contract.data["columns"]]
        dataset = f"{contract.source}/{contract.schema}/{contract.relation}"
        data = _only({**contract.data, "columns": columns, "dataset": dataset}, paths, None)
        at = {} if relation.at is None else {"at": relation.at}
        return self.verify(relation.connection, relation.source, data, **at)

    def _with_sample(
        self, relation: Relation, contract: Contract, rule: Rule, result: CheckResult
    ) -> CheckResult:
        if result.outcome not in (Outcome.FAILED, Outcome.WARNED):
            return result
        found: Sampled = failing_rows(relation, contract, rule, rows=self.sample_rows)
        message = "; ".join(t for t in (result.message, found.note) if t)
        return result.model_copy(update={"sample": found.rows, "message": message})


def _misplaced(relation: Relation, contract: Contract) -> str | None:
    """Why the contract is not about this relation, None when it is."""
    table = relation.table
    views = (table, f"{table}__batch", f"{table}__published")
    here = (contract.source, contract.schema) == (relation.source, relation.schema)
    if here and contract.relation in views:
        return None
    wanted = f"{relation.source}/{relation.schema}/{table}"
    return f"dataset is not {wanted}, {wanted}__batch or {wanted}__published"


def _only(node: Mapping[str, Any], paths: Container[str], column: str | None) -> dict[str, Any]:
    """A contract, or a column of it, with the checks of these paths alone."""
    checks = [
        check
        for check in node.get("checks", ())
        for kind, body in check.items()
        if relative_path(column, kind, (body or {}).get("qualifier")) in paths
    ]
    rest = {k: v for k, v in node.items() if k != "checks"}
    return {**rest, "checks": checks} if checks else rest


def _complaints(
    verdict: Verdict, rules: Iterable[Rule], relation: Relation, contract: Contract
) -> Iterator[str]:
    """Everything that keeps us from believing this run."""
    yield from dict.fromkeys(engine_message(text, relation.masked) for text in verdict.errors)
    if verdict.status not in _GOOD_STATUS:
        yield f"Soda ended with status {verdict.status}"
    declared = sorted(rule.relative_path for rule in rules)
    found = sorted(finding.path for finding in verdict.findings)
    if found != declared:
        lost = sorted(set(declared) - set(found))
        more = sorted(set(found) - set(declared)) or [p for p in found if found.count(p) > 1]
        yield f"Soda's checks are not the declared ones: lost {lost}, unexpected {more}"
    counts = {f.counts["dataset_rows_tested"] for f in verdict.findings
              if "dataset_rows_tested" in f.counts}  # fmt: skip
    yield from _other_rows(relation, contract, counts)


def _other_rows(relation: Relation, contract: Contract, counts: Iterable[int]) -> Iterator[str]:
    """An audit of other rows than the snapshot's is no audit of it (law 2)."""
    known = relation.rows.get(contract.relation)
    for count in counts:
        if known is not None and contract.filter is None and count != known:
            yield f"{count:,} rows were looked at, {contract.relation} has {known:,}"


def _judged(
    relation: Relation, rule: Rule, finding: Finding | None, errors: list[str]
) -> CheckResult:
    """Soda's finding as our result; what contradicts itself is not evaluated."""
    if finding is None:
        return _unknown(rule, relation, "Soda did not report it")
    outcome = _OUTCOMES.get(finding.outcome)
    if outcome is None:
        return _unknown(rule, relation, _why_not(finding, errors))
    if rule.kind != "schema":
        ours = rule.threshold.outcome(finding.value) if finding.value is not None else None
        if ours is not outcome:
            said = f"Soda says {finding.outcome.lower()}, its own number says {ours or 'nothing'}"
            errors.append(f"{rule.relative_path}: {said}")
            return _unknown(rule, relation, said)
    failing = finding.counts.get(_FAILING.get(rule.kind, ""))
    hidden = hides_value(rule, relation.masked)
    return CheckResult(
        **_about(rule, relation),
        measured=MASK if hidden else _measured(rule, finding),
        value=None if hidden else finding.value,
        failing_rows=failing,
        tested_rows=finding.counts.get("check_rows_tested"),
        outcome=outcome,
        message=_age(rule, finding, hidden=hidden),
    )


def _why_not(finding: Finding, errors: Sequence[str]) -> str:
    if finding.counts.get("check_rows_tested") == 0:
        return "there is no row to measure"
    if errors:
        return errors[0]
    return f"Soda says {finding.outcome.lower().replace('_', ' ')} and gives no reason"


def _measured(rule: Rule, finding: Finding) -> str:
    if rule.kind == "schema":
        return "; ".join(finding.notes) or "as listed"
    if rule.kind == "freshness" and finding.newest is not None:
        # The newest time, not its age: the same snapshot must measure the same tomorrow.
        return f"newest: {finding.newest:%Y-%m-%d %H:%M:%S} UTC"
    failing = finding.counts.get(_FAILING.get(rule.kind, ""))
    if failing is not None:
        return words.share(failing, finding.counts.get("check_rows_tested"))
    return words.figure(rule, finding.value) if finding.value is not None else ""


def _age(rule: Rule, finding: Finding, *, hidden: bool) -> str:
    if rule.kind != "freshness" or finding.value is None or hidden:
        return ""
    return f"{words.figure(rule, finding.value)} when it was audited"


def _count_keys(
    relation: Relation, contract: Contract, rule: Rule
) -> tuple[CheckResult, str | None]:
    key = Key(
        view=view(relation.schema, contract.relation),
        columns=rule.columns,
        types=relation.columns,
        where=looked_at(contract, rule),
        nulls_count=rule.column is None,
    )
    try:
        found = _measured_key(relation, contract, rule, key)
    except REFUSALS as exc:
        reason = engine_message(str(exc), relation.masked)
        return _unknown(rule, relation, reason), f"{rule.relative_path}: {reason}"
    other = None if rule.filter else next(_other_rows(relation, contract, [found.rows]), None)
    value = found.percent if rule.threshold.metric == "percent" else found.duplicates
    result = CheckResult(
        **_about(rule, relation),
        measured=words.share(found.duplicates, found.present),
        value=value,
        failing_rows=found.duplicates,
        tested_rows=found.rows,
        outcome=rule.threshold.outcome(value),
    )
    return result, other


def _measured_key(relation: Relation, contract: Contract, rule: Rule, key: Key) -> Uniqueness:
    if rule not in standing(contract, relation.table, relation.earlier):
        return measure(relation.connection, key)
    published, batch = (
        view(relation.schema, f"{relation.table}__{part}") for part in ("published", "batch")
    )
    return measure_joined(relation.connection, key, published, batch)


def _unknown(rule: Rule, relation: Relation, reason: str) -> CheckResult:
    return CheckResult(**_about(rule, relation), outcome=Outcome.NOT_EVALUATED, message=reason)


def _about(rule: Rule, relation: Relation) -> dict[str, Any]:
    """What a result says of its check, whatever became of it."""
    return {
        "name": rule.name,
        "relation": rule.relation,
        "kind": rule.kind,
        "column": rule.column,
        "title": words.title(rule),
        "expected": words.expected(rule, relation.masked),
        "blocking": rule.threshold.blocking,
    }
