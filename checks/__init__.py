"""The gate: contracts, audits and reports.

``parse_contract`` proves a contract, ``judge`` audits a relation against it with an ``Auditor``
and gives a ``Report``, ``write_report`` shows that report to people and machines. What imports an
engine (``SodaAuditor``) or a template engine (``write_report``) is loaded when it is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from checks.base import Audit, Auditor, Relation
from checks.contract import Contract, check_columns, parse_contract
from checks.errors import AuditorUnavailableError, ChecksError, ContractError, ReportError
from checks.gate import judge, refused
from checks.own import reconcile_check, schema_check
from checks.report import CheckResult, ContractRef, Outcome, Report

if TYPE_CHECKING:
    from checks.render import render_text, write_report
    from checks.soda import SodaAuditor
    from checks.story import Story

__all__ = [
    "Audit", "Auditor", "AuditorUnavailableError", "CheckResult", "ChecksError", "Contract",
    "ContractError", "ContractRef", "Outcome", "Relation", "Report", "ReportError", "SodaAuditor",
    "Story", "check_columns", "judge", "parse_contract", "reconcile_check", "refused",
    "render_text", "schema_check", "write_report",
]  # fmt: skip

_LAZY = {
    "SodaAuditor": "checks.soda",
    "Story": "checks.story",
    "render_text": "checks.render",
    "write_report": "checks.render",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
