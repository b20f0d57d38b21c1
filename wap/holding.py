"""What may be decided of a held run, and how far a waiver reaches. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

from wap.errors import ConfigError, DecisionRefusedError
from wap.model import FailedCheck, Held, Refusal, Waiver

#: How long a waiver counts when nobody says until when.
DEFAULT_DAYS = 30
#: A waiver is for data that will be mended; one for years is a contract that wants changing.
MAX_DAYS = 366
#: What a run says that nobody need decide on.
NOT_HELD = "the run is not held"


def check_waiver(held: Held | None, waiver: Waiver, run_id: str, now: datetime) -> None:
    """Hold a waiver against what the run waits for.

    Args:
        held: what it waits for; None: it does not wait.
        now: the run's own time.

    Raises:
        DecisionRefusedError: it does not fit; nothing is changed by it.
    """
    waiting = _check(held, waiver, run_id, now)
    if missing := waiting.names - waiver.checks:
        raise _refused(
            f"the waiver does not name every check that failed: {_listed(missing)} is missing",
            run_id,
            "name them all by --check, or leave --check out to name all that failed",
        )
    if more := waiver.checks - waiting.names:
        raise _refused(
            f"the waiver names what did not fail: {_listed(more)}",
            run_id,
            f"failed: {_listed(waiting.names)}",
        )
    if waiver.until <= now:
        raise _refused(
            f"the waiver would have expired at {waiver.until:%Y-%m-%d %H:%M %Z}",
            run_id,
            "give a day to come by --until",
        )
    if waiver.until > now + timedelta(days=MAX_DAYS):
        raise _refused(
            f"a waiver counts for {MAX_DAYS} days at most",
            run_id,
            "what is to hold for longer belongs in the contract",
        )


def check_refusal(held: Held | None, refusal: Refusal, run_id: str, now: datetime) -> None:
    """Hold a person's no against what the run waits for.

    Raises:
        DecisionRefusedError: it does not fit; nothing is changed by it.
    """
    _check(held, refusal, run_id, now)


def repeats(said: Waiver | Refusal, answer: Waiver | Refusal | None) -> bool:
    """Whether somebody says again what the run was told already."""
    when = {"at", "until"}
    return type(said) is type(answer) and said.model_dump(exclude=when) == (
        answer.model_dump(exclude=when) if answer is not None else None
    )


def _check(held: Held | None, said: Waiver | Refusal, run_id: str, now: datetime) -> Held:
    if said.run_id != run_id:
        raise _refused(
            f"the run is over: {run_id} is at work in its place", said.run_id, "see `wap status`"
        )
    if held is None:
        hint = "nobody decided it, or somebody did already; see `wap status`"
        raise _refused(NOT_HELD, run_id, hint)
    if now >= held.until:
        what = f"the run was held until {held.until:%Y-%m-%d %H:%M %Z}; it is being rejected"
        raise _refused(what, run_id, "run again")
    if said.report_digest != held.report_digest:
        raise _refused(
            "the run was audited again: the decision is about an earlier report",
            run_id,
            "main moved meanwhile; read the report again, then decide",
        )
    if not said.person.strip() or not said.reason.strip():
        raise _refused("a decision has a person and a reason", run_id, 'give --reason "…"')
    return held


def covers(
    waiver: Waiver, seen: Sequence[FailedCheck], failed: Sequence[FailedCheck], now: datetime
) -> bool:
    """Whether a waiver reaches to a later audit of the same batch, after main had moved.

    It covers what its person saw: the checks it names, each with no more failing rows than then.
    Where rows cannot be counted the name alone decides.
    """
    rows = {check.name: check.failing_rows for check in seen}
    return waiver.until > now and all(
        check.name in waiver.checks and _no_worse(check.failing_rows, rows.get(check.name))
        for check in failed
    )


def _no_worse(now: int | None, then: int | None) -> bool:
    if now is None or then is None:
        return now is then
    return now <= then


def bound(waiver: Waiver, report_digest: str, failed: Sequence[FailedCheck]) -> Waiver:
    """The same word about a later audit: its report, and the checks that failed there."""
    names = frozenset(check.name for check in failed)
    return waiver.model_copy(update={"report_digest": report_digest, "checks": names})


def until_of(text: str | None, now: datetime) -> datetime:
    """The expiry that a person gave: a day, which counts to its end, or a moment (UTC).

    Raises:
        ConfigError: it is neither.
    """
    if text is None:
        return now + timedelta(days=DEFAULT_DAYS)
    try:
        day = date.fromisoformat(text)
    except ValueError:
        pass
    else:
        return datetime.combine(day, time.max, UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise ConfigError(
            f"{text!r} is no date",
            where="--until",
            hint="write 2026-12-31, or 2026-12-31T18:00:00+00:00",
        ) from exc
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))


def _refused(what: str, run_id: str, hint: str) -> DecisionRefusedError:
    return DecisionRefusedError(what, where=f"run {run_id}", hint=hint)
