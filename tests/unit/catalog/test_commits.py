"""The retry loop: what it repeats, what it raises, and which files it throws away."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table

from catalog.commits import TRIES, UNANSWERED_TRIES, Committer, Done, Proposal, settle
from catalog.errors import BranchNotFoundError, CatalogUnavailableError

LOST = CommitFailedException("another process")
UNANSWERED = ConnectionError("reset")


class Script(Committer):
    """Plays one outcome per commit: None takes effect, an exception is raised."""

    atomic_groups = True
    serial = True

    def __init__(self, *outcomes: Exception | None) -> None:
        self.outcomes = list(outcomes)
        self.commits = 0

    def load(self, identifier: tuple[str, ...]) -> Table:
        raise AssertionError(identifier)

    def commit(self, proposals: Sequence[Proposal]) -> None:
        self.commits += 1
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if outcome is not None:
            raise outcome


class Files:
    """Stands for a draft: notes what is thrown away."""

    added = ()

    def __init__(self) -> None:
        self.discarded = 0
        self.lists = 0

    def discard(self) -> None:
        self.discarded += 1

    def discard_list(self) -> None:
        self.lists += 1


def play(script: Script, seen_after: int, files: Files | None = None) -> str:
    """The effect is found once so many commits were sent."""
    files = files or Files()
    proposal = Proposal(None, (), (), drafts=(files,))

    def decide():
        return Done("there") if script.commits >= seen_after else [proposal]

    return settle(script, decide, [files])


def test_an_effect_that_is_there_is_not_committed_again():
    script, files = Script(), Files()
    assert play(script, 0, files) == "there"
    assert (script.commits, files.discarded) == (0, 1)


def test_a_success_is_read_back_and_keeps_its_files():
    script, files = Script(None), Files()
    assert play(script, 1, files) == "there"
    assert (script.commits, files.discarded, files.lists) == (1, 0, 0)


def test_lost_races_are_tried_again_without_their_lists():
    script, files = Script(LOST, LOST, None), Files()
    assert play(script, 3, files) == "there"
    assert (files.discarded, files.lists) == (0, 2)


def test_a_lost_answer_is_read_back_and_its_files_stay():
    script, files = Script(UNANSWERED), Files()
    assert play(script, 1, files) == "there"
    assert (script.commits, files.discarded, files.lists) == (1, 0, 0)


def test_a_sequence_number_is_a_race_too():
    script = Script(ValueError("Cannot add snapshot with sequence number 1 older than …"), None)
    assert play(script, 2) == "there"


def test_another_value_error_is_a_bug():
    with pytest.raises(ValueError, match="Cannot set main"):
        play(Script(ValueError("Cannot set main to unknown snapshot")), 9)


def test_a_race_never_won_ends():
    script, files = Script(*[LOST] * (TRIES + 1)), Files()
    with pytest.raises(CatalogUnavailableError) as raised:
        play(script, TRIES + 9, files)
    assert script.commits == TRIES
    assert files.discarded == 1
    assert raised.value.__cause__ is LOST


def test_a_catalog_that_does_not_answer_is_not_asked_for_ever():
    script, files = Script(*[UNANSWERED] * 9), Files()
    with pytest.raises(ConnectionError):
        play(script, 99, files)
    assert script.commits == UNANSWERED_TRIES
    assert files.discarded == 0, "a commit may have used them"


def test_a_refusal_by_decide_throws_the_files_away():
    files = Files()

    def decide():
        raise BranchNotFoundError("gone")

    with pytest.raises(BranchNotFoundError):
        settle(Script(), decide, [files])
    assert files.discarded == 1


def test_a_refusal_after_a_lost_answer_keeps_the_files():
    script, files = Script(UNANSWERED), Files()

    def decide():
        if script.commits:
            raise BranchNotFoundError("gone")
        return [Proposal(None, (), (), drafts=(files,))]

    with pytest.raises(BranchNotFoundError):
        settle(script, decide, [files])
    assert files.discarded == 0
