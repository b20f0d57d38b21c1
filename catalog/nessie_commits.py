"""Commits and publishes on Nessie: metadata written here, swapped in by key."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import StagedTable

from catalog import nessie_firsts
from catalog.commits import Committer, Proposal, delete_quietly
from catalog.nessie_api import Meta, Put, Ref, RefGoneError
from catalog.nessie_tables import Pointed, PointerCatalog, content_of, missing_namespaces
from catalog.refs import MAIN, Branch

#: Branches beside a run's own, for one commit or one publish; named by run, gone afterwards.
SIDE = "wap-tmp/"
#: Properties of commits: whose it is, and that a run's branch begins with it.
RUN = "wap.run"
BEGIN = "wap.begin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication(Proposal):
    """A table that is to be published as the run's branch points to it.

    Attributes:
        main: main's head, at which all was proven.
        over: the table as main had it then; None: it is new.
        branch: the run's.
        facts: the seal's, for the merge commit.
    """

    main: Ref
    over: Pointed | None
    branch: Branch
    facts: Mapping[str, str]


class NessieCommitter(Committer):
    """Points keys of tables to new metadata files; publishes several keys by one merge."""

    atomic_groups = True
    new_in_groups = True
    serial = True

    def __init__(self, catalog: PointerCatalog) -> None:
        self._catalog = catalog
        self._api = catalog.api

    def load(self, identifier: tuple[str, ...]) -> Pointed:
        """The table as main points to it."""
        return self._catalog.load_table(identifier)

    def commit(self, proposals: Sequence[Proposal]) -> None:
        """Publish all, or point the keys to new metadata files by one commit."""
        publications = [p for p in proposals if isinstance(p, Publication)]
        written = [p for p in proposals if not isinstance(p, Publication)]
        tables = [cast("Pointed", p.table) for p in written]
        staged: list[StagedTable] = []
        try:
            for proposal, table in zip(written, tables, strict=True):
                catalog = cast("PointerCatalog", table.catalog)
                made = catalog.stage(table, proposal.all_requirements, proposal.updates)
                staged.append(made)
            puts = [_pointed(*one) for one in zip(tables, staged, strict=True)]
            if publications:
                self._publish(publications, puts)
            else:
                self._point(tables, puts)
        except CommitFailedException:
            for made in staged:
                delete_quietly(made.io, made.metadata_location)
            raise

    def _point(self, tables: Sequence[Pointed], puts: Sequence[Put]) -> None:
        """One commit for all: they were loaded at one hash, or there is but one."""
        at, on = tables[0].at, cast("PointerCatalog", tables[0].catalog).ref
        if at.name == on:
            self._swap(at, puts)
        else:
            (put,) = puts
            self._begin(Branch(on), at, put)

    def _swap(self, at: Ref, puts: Sequence[Put]) -> None:
        owner = {} if at.name == MAIN else {RUN: Branch(at.name).run_id}
        keys = [put.key for put in puts]
        said = f"{', '.join('.'.join(key) for key in keys)} on {at.name}"
        all_ = [*missing_namespaces(self._api, at.name, keys), *puts]
        self._api.commit(at, all_, _meta(said, owner))

    def _begin(self, branch: Branch, main: Ref, put: Put) -> None:
        """The run's branch appears with its first commit, so whoever finds one knows whose it is.

        A crash on the way leaves a branch beside it, which the run's end removes.
        """
        run = {RUN: branch.run_id, BEGIN: branch.run_id}
        puts = [*missing_namespaces(self._api, main.name, [put.key]), put]
        side = self._api.create(_side(branch), main)
        side = self._api.commit(side, puts, _meta(f"{'.'.join(put.key)} on {branch}", run))
        self._api.create(branch.name, side)
        self._api.delete(side)

    def _publish(self, publications: Sequence[Publication], beside: Sequence[Put]) -> None:
        """One merge of a branch that is cut from main now and holds what was proven, only that.

        The run's own branch is not merged: it may be older than main, and anybody may have
        changed other tables on it. It has to be where it was proven, after the branch to merge
        is there: whoever drops a run removes the former first and the latter then, so that no
        publish of it can begin or go on.

        Args:
            publications: what is published.
            beside: what main of other tables points to by the same merge; they were loaded at the
                same head of main.
        """
        branch, main = publications[0].branch, publications[0].main
        firsts = [p.table.name() for p in publications if p.over is None]
        lacking = nessie_firsts.missing(self._api, firsts)
        if lacking:
            # With it a main without any commit has one: Nessie merges only what has one in common.
            said = ", ".join(".".join(key) for key in firsts)
            self._api.commit(main, lacking, _meta(f"about to publish {said}", {}))
            raise CommitFailedException("main had no mark of a new table yet")
        puts = missing_namespaces(self._api, main.name, [p.table.name() for p in publications])
        puts += [
            *(_published(p) for p in publications),
            *beside,
            *nessie_firsts.taken(firsts),
        ]
        meta = _meta(_message(publications), _facts(publications))
        side = self._api.commit(self._api.create(_side(branch), main), puts, meta)
        try:
            self._check_unmoved(branch, publications)
            self._api.merge(side, main, meta)
        except CommitFailedException:
            self._api.delete(side)
            raise
        self._api.delete(side)

    def _check_unmoved(self, branch: Branch, publications: Sequence[Publication]) -> None:
        try:
            now = self._api.ref(branch.name)
        except RefGoneError as exc:
            raise CommitFailedException(f"branch {branch} is gone") from exc
        if any(cast("Pointed", p.table).at != now for p in publications):
            raise CommitFailedException(f"branch {branch} has moved")


def _side(branch: Branch) -> str:
    return f"{SIDE}{branch.run_id}/{uuid.uuid4().hex[:12]}"


def _pointed(table: Pointed, staged: StagedTable) -> Put:
    return Put(
        table.name(), content_of(staged.metadata, staged.metadata_location, table.content_id)
    )


def _published(publication: Publication) -> Put:
    table, over = publication.table, publication.over
    id_ = over.content_id if over is not None else None
    return Put(table.name(), content_of(table.metadata, table.metadata_location, id_))


def _message(publications: Sequence[Publication]) -> str:
    tables = ", ".join(sorted(".".join(p.table.name()) for p in publications))
    return f"publish {tables} from {publications[0].branch}"


def _facts(publications: Sequence[Publication]) -> dict[str, str]:
    facts = {RUN: publications[0].branch.run_id}
    for publication in publications:
        name = ".".join(publication.table.name())
        facts |= {f"{name}/{key}": value for key, value in publication.facts.items()}
    return facts


def _meta(message: str, properties: Mapping[str, str]) -> Meta:
    run = properties.get(RUN)
    return Meta(message, f"wap run {run}" if run else "wap", properties)
