"""Guards of ``wap/``: the saga's order, the evidence its steps ask for, and who may see what."""

from __future__ import annotations

from tests.mutation.guard import Guard, guards_of

_STEPS = "tests/unit/wap/test_guard_steps.py"
_KEYED = "tests/unit/wap/test_guard_keyed.py"
_EVIDENCE = "tests/unit/wap/test_guard_evidence.py"

_workflow = guards_of("wap/workflow.py", "tests/workflow/test_saga.py")
_saga = guards_of("wap/saga.py", "tests/workflow/test_saga.py")
_codec = guards_of("wap/codec.py", "tests/unit/wap/test_codec.py")
_holding = guards_of("wap/holding.py", "tests/workflow/test_hold.py")
_activities = guards_of("wap/activities.py", _STEPS)
_sealing = guards_of("wap/sealing.py", _STEPS)
_auditing = guards_of("wap/auditing.py", _STEPS)
_planning = guards_of("wap/planning.py", _STEPS)
_undoing = guards_of("wap/undoing.py", _STEPS)
_writing = guards_of("wap/writing.py", _STEPS)
_evidence = guards_of("wap/evidence.py", _EVIDENCE)
_naming = guards_of("catalog/naming.py", _EVIDENCE)
_declared = guards_of("wap/declared.py", "tests/unit/wap/test_declared.py")
_relations = guards_of("wap/relations.py", "tests/behaviors/test_reading.py")
_remote = guards_of("wap/remote_files.py", "tests/unit/wap/test_remote_files.py")
_runs = guards_of("wap/runs.py", "tests/unit/wap/test_runs.py")
_documents = guards_of("wap/documents.py", "tests/unit/wap/test_documents.py")
_kept = guards_of("wap/runs.py", "tests/unit/wap/test_late_attempts.py")
_STANDING = "tests/behaviors/test_standing.py"
_standing = guards_of("wap/standing.py", _STANDING)
_access = guards_of("wap/access.py", "tests/unit/wap/test_access.py")

_tasks = guards_of("wap/spark/tasks.py", "tests/unit/wap/spark/test_tasks.py")

_KAFKA = "tests/behaviors/test_source_kafka.py"
_kafka = guards_of("wap/sources/kafka.py", _KAFKA)
_kafka_reader = guards_of("wap/sources/kafka_reader.py", _KAFKA)
_JDBC = "tests/integration/test_jdbc.py"
_jdbc = guards_of("wap/sources/jdbc.py", _JDBC)
_frames = guards_of("wap/spark/frames.py", _JDBC)

_HOLD = "tests/workflow/test_hold.py"
_CANCEL = "test_cancel_in_a_step_rolls_back_even_if_the_step_never_hears_of_it"
_SAVE = "    folder.save_books(number, books)\n"
_COMMIT = """\
    change = Change(
        added=written.files,
        removed=replaced.files if replaced else (),
        kept=kept.files,
        same_rows=is_compaction(pinned),
        summary=notes_of(pinned),
    )
    return catalog.stage(staging, change), books
"""
_COMMIT_THEN_SAVE = _COMMIT.replace("return catalog", "staging = catalog").replace(
    ", books\n", "\n"
)
_PUBLISHED_ONCE_MORE = """\
            rebased = await self._step(Steps.rebase)
            moved = {"head": rebased.head, "expected": rebased.expected}
            if await self._publish(audited.model_copy(update=moved)):
                return self._conclude(Ending.PUBLISHED)
            refused = None
"""
_REGISTER = 'self._saga.undo_with("drop_branch", self._drop_branch)'
_OPEN = "opened: Opened = await self._step(Steps.open_branch)"
_REJECTED = "        if self._published is not None:\n            # By a union"
_LAST = "so this answer is the last."

GUARDS: tuple[Guard, ...] = (
    _standing(
        "an audit of other rows than main's",
        "published is None or published.snapshot.id != staging.expected",
        "published is None",
        "test_main_that_moved_meanwhile_proves_nothing",
    ),
    _standing(
        "what a person answered for, taken for good",
        "    if seal.waiver:\n        return Standing()\n",
        "",
        "test_a_seal_under_a_waiver_proves_nothing",
    ),
    _standing(
        "rows that nobody sealed",
        "    if not published.snapshot.is_sealed:\n        return Standing()\n",
        "",
        "test_rows_that_somebody_else_added_are_looked_at",
    ),
    _standing(
        "an audit by other contracts",
        "if not (report.passed and same and columns and about_it):",
        "if not (report.passed and columns and about_it):",
        "test_contracts_of_another_text_prove_nothing",
    ),
    _standing(
        "an audit of other columns",
        "if not (report.passed and same and columns and about_it):",
        "if not (report.passed and same and about_it):",
        "test_columns_that_were_others_prove_nothing",
    ),
    _relations(
        "published files that the run takes away",
        "if not standing.results or not only_adds(scans, staging.table.name):",
        "if not standing.results:",
        f"{_STANDING}::test_a_candidate_that_lacks_a_published_file_is_looked_at_whole",
    ),
    _access(
        "a consumer who lists what is staged",
        "Role.CONSUMER: [objects],",
        "Role.CONSUMER: [objects, listing],",
        "test_a_consumer_may_get_objects_of_the_warehouse_and_nothing_else",
    ),
    _access(
        "a policy that reaches into a neighbour",
        'f"{path}/" if path else ""',
        "path",
        "test_a_policy_ends_where_the_warehouse_does",
    ),
    _access(
        "a consumer on every branch",
        " && ref == 'main'\"",
        '"',
        "test_a_consumers_rule_is_for_main_and_not_for_its_log",
    ),
    _workflow(
        "an audit that did not pass",
        "if not audited.passed:",
        "if False:",
        "test_failed_audit_is_an_ending_not_an_exception",
    ),
    _workflow(
        "a failed audit that nobody may answer for",
        "if audited.hold_seconds is None or not audited.failed:",
        "if audited.hold_seconds is None:",
        f"{_HOLD}::test_nobody_is_asked_where_nobody_may_answer",
    ),
    _workflow(
        "a failed audit of a run that is not to be held",
        "if audited.hold_seconds is None or not audited.failed:",
        "if not audited.failed:",
        "test_failed_audit_is_an_ending_not_an_exception",
    ),
    _workflow(
        "time that is up taken for a yes",
        "        if isinstance(answer, Waiver):\n            return answer\n",
        "        if not isinstance(answer, Refusal):\n            return answer\n",
        f"{_HOLD}::test_a_run_that_nobody_decides_is_rejected_when_time_is_up",
    ),
    _workflow(
        "a waiver that nobody held against the run",
        "holding.check_waiver(self._waiting, waiver, self._run.run_id, workflow.now())",
        "pass",
        f"{_HOLD}::test_a_waiver_that_does_not_fit_changes_nothing",
    ),
    _workflow(
        "a waiver of an earlier report",
        "self._waiver = holding.bound(given, audited.report_digest, audited.failed)",
        "self._waiver = given",
        f"{_HOLD}::test_main_that_moved_is_audited_again_under_the_same_waiver",
    ),
    _workflow(
        "a waiver that reaches as far as it likes",
        "if given is None or not holding.covers(given, self._seen, audited.failed, now):",
        "if given is None:",
        f"{_HOLD}::test_what_the_waiver_does_not_cover_is_held_again",
    ),
    _workflow(
        "a waiver of what is read anew",
        "            self._waiver, self._quarantine = None, None\n",
        "            self._quarantine = None\n",
        f"{_HOLD}::test_what_is_read_anew_is_decided_anew",
    ),
    _holding(
        "more failing rows than were seen",
        "return now <= then",
        "return True",
        "test_what_the_waiver_does_not_cover_is_held_again",
    ),
    _holding(
        "a failing check that the waiver does not name",
        "check.name in waiver.checks and _no_worse",
        "_no_worse",
        "test_what_the_waiver_does_not_cover_is_held_again",
    ),
    _holding(
        "a decision about an earlier report",
        "if said.report_digest != held.report_digest:",
        "if False:",
        "test_a_refusal_that_does_not_fit_changes_nothing",
    ),
    _holding(
        "a decision about another run",
        "if said.run_id != run_id:",
        "if False:",
        "test_a_refusal_that_does_not_fit_changes_nothing",
    ),
    _holding(
        "a decision without a reason",
        "if not said.person.strip() or not said.reason.strip():",
        "if False:",
        "test_a_refusal_that_does_not_fit_changes_nothing",
    ),
    _holding(
        "a decision that was taken already",
        "    if held is None:\n",
        "    if False:\n",
        "test_a_run_that_is_not_held_takes_no_decision",
    ),
    _activities(
        "a waiver that expired meanwhile",
        "        self._refuse_expired(run, audited)\n",
        "",
        "test_a_waiver_that_expired_meanwhile_publishes_nothing",
    ),
    _activities(
        "a head without its waiver's proof",
        "waiver=audited.waiver,\n        )\n",
        "waiver=audited.waiver and audited.waiver.model_copy("
        'update={"checks": self._folder(run.run_id).report().waivable}),\n        )\n',
        "test_a_waiver_of_something_else_is_neither_sealed_nor_published",
    ),
    _sealing(
        "a seal that tells nothing of the waiver",
        "            waiver=head.waiver_text,\n",
        "",
        "test_what_is_published_under_a_waiver_tells_it",
    ),
    _workflow(
        "a batch that does not fit",
        "if staged.refused is not None:",
        "if False:",
        "test_batch_that_does_not_fit_is_rejected[stage]",
    ),
    _workflow(
        "a table that does not fit",
        "if self._resolved.refused is not None:",
        "if False:",
        "test_batch_that_does_not_fit_is_rejected[resolve]",
    ),
    _workflow(
        "a publish after a rebase without an audit",
        "            refused = await self._meet_main()\n",
        _PUBLISHED_ONCE_MORE,
        "test_moved_main_is_rebased_and_audited_again",
    ),
    _workflow(
        "a main that moved taken for a failure",
        'if failures.is_type(exc, "HeadMovedError"):',
        "if False:",
        "test_moved_main_is_rebased_and_audited_again",
    ),
    _workflow(
        "any failure taken for a main that moved",
        'if failures.is_type(exc, "HeadMovedError"):',
        "if True:",
        "test_publish_that_had_no_effect_is_rolled_back",
    ),
    _workflow(
        "a batch that cannot follow",
        "raise _RedoError(moved.redo)",
        "pass",
        "test_batch_that_cannot_follow_is_planned_anew",
    ),
    _workflow(
        "a step that fails before its undo is known",
        f"{_REGISTER}\n        {_OPEN}",
        f"{_OPEN}\n        {_REGISTER}",
        "test_error_in_a_step_is_rolled_back[open_branch-after]",
    ),
    _workflow(
        "a rejected batch that stays",
        f"        await uninterrupted(self._undo())\n{_REJECTED}",
        _REJECTED,
        "test_failed_audit_is_an_ending_not_an_exception",
    ),
    _workflow(
        "an undo of what is published",
        "            if self._published is not None:\n                # The publish",
        "            if False:\n                # The publish",
        "test_publish_that_took_effect_but_never_answered_is_published",
    ),
    _workflow(
        "a cancel that a step never heard of",
        "        if heed_cancel:\n",
        "        if False:\n",
        f"{_CANCEL}[seal-100]",
    ),
    _workflow(
        "a cancel in the middle of a publish",
        "self._published = await uninterrupted(",
        "self._published = await (",
        "tests/workflow/test_guard_cancel.py::test_a_publish_is_tried_again",
    ),
    _workflow(
        "an undo that failed",
        "self._undo_failures.update(await self._saga.compensate())",
        "await self._saga.compensate()",
        "test_undo_that_fails_for_good_says_what_is_left",
    ),
    _workflow(
        "an undo that a cancel cuts short",
        "            error = exc\n            await uninterrupted(self._undo())\n",
        "            error = exc\n            await self._undo()\n",
        "tests/workflow/test_guard_cancel.py::test_an_undo_is_tried_again",
    ),
    _workflow(
        "another order of steps for runs that are at work",
        "            await self._step(Steps.seal, audited)\n",
        "            await self._step(Steps.reconcile)\n"
        "            await self._step(Steps.seal, audited)\n",
        "tests/workflow/test_replay.py::test_a_saved_run_goes_on",
    ),
    _codec(
        "a payload that is said to be under another key",
        'return b"wap:1:" + key_id.encode()',
        'return b"wap:1:"',
        "test_the_key_that_is_named_is_part_of_what_is_sealed",
    ),
    _codec(
        "messages of failures left in clear",
        "        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,\n",
        "",
        "test_what_failed_is_not_told_in_clear",
    ),
    _activities(
        "a failing audit told as passed",
        "passed=report.passed and whole,",
        "passed=True,",
        "test_a_failing_audit_is_told_as_one",
    ),
    _activities(
        "another report than the audit's",
        "report=self._folder(run.run_id).report(audited.report_digest),",
        "report=self._folder(run.run_id).report(),",
        "test_another_report_is_neither_sealed_nor_published",
    ),
    _activities(
        "a pipeline that changed during the run",
        "said = said_first(folder) or with_contracts(",
        "said = with_contracts(",
        "test_a_later_round_keeps_to_what_the_run_was_declared_by",
    ),
    _activities(
        "an input that another run published",
        "if self._was_done(run, pinned):\n            return Rebased",
        "if False:\n            return Rebased",
        "test_an_input_that_another_run_published_is_planned_anew",
    ),
    _undoing(
        "another run's seal taken for this one's",
        "if run_id == seal.run_id or run_id in seal.members:",
        "if True:",
        "test_a_drop_does_not_take_another_publish_for_its_own",
    ),
    _undoing(
        "a publish that comes during the undo",
        f"{_LAST}\n    move = published_move(catalog, run_id, table, before)\n",
        f"{_LAST}\n    move = None\n",
        "test_a_publish_during_the_undo_is_told",
    ),
    _undoing(
        "evidence of a published run",
        "return Undone(removed=_PUBLISHED, published=move)\n    dropped",
        "pass\n    dropped",
        "test_a_late_undo_of_a_published_run_leaves_it_alone",
    ),
    _sealing(
        "a seal without the evidence's digest",
        'notes={"pipeline": pinned.pipeline.name, evidence.NOTE: digest, **(notes or {})},',
        'notes={"pipeline": pinned.pipeline.name, **(notes or {})},',
        "test_what_is_published_carries_its_evidence",
    ),
    _sealing(
        "a seal of another source",
        "source_digest=pinned.plan.digest,",
        'source_digest="0" * 64,',
        "test_what_is_published_carries_its_evidence",
    ),
    _auditing(
        "books that were never counted",
        "counted=-1 if books.counted is None else books.counted,",
        "counted=rows.staged if books.counted is None else books.counted,",
        "test_an_audit_before_the_count_does_not_pass",
    ),
    _auditing(
        "a table of other columns",
        "schema_check(wanted, actual),",
        "schema_check(wanted, wanted),",
        "test_a_table_of_other_columns_does_not_pass",
    ),
    _auditing(
        "contracts that changed during the run",
        "contracts = tuple(parse_contract(c.text, c.path) for c in pinned.contracts)",
        "return tuple(parse_contract(Path(c.path).read_text(), c.path) for c in pinned.contracts)",
        "test_the_contracts_are_those_of_the_plan",
    ),
    _declared(
        "a contract that SQL stored",
        "    proved = prove(draft, version.shown)\n"
        "    return Declared(proved.pipeline, draft.contracts, version.version)\n",
        "    pipeline, _ = parse_pipeline(draft.pipeline, draft.name, version.shown)\n"
        "    return Declared(pipeline, draft.contracts, version.version)\n",
        "test_a_run_takes_nothing_unproved_that_sql_stored",
    ),
    _planning(
        "a contract about columns that are not there",
        "        check_columns(parse_contract(contract.text, contract.path), types)\n",
        "        parse_contract(contract.text, contract.path)\n",
        "test_a_contract_about_no_column_stops_the_run_at_once",
    ),
    _writing(
        "a batch that is staged already",
        "    if staging.staged:\n",
        "    if False:\n",
        "test_a_second_attempt_to_stage_says_what_was_done",
    ),
    _writing(
        "files of an attempt that died",
        "    engine.clear(staging, committed)\n",
        "",
        "test_files_of_an_attempt_that_died_are_cleared",
    ),
    _writing(
        "files that are in the snapshot taken for litter",
        "engine.clear(staging, committed)",
        "engine.clear(staging)",
        "test_a_second_attempt_to_stage_says_what_was_done",
    ),
    _writing(
        "books kept only after the commit",
        f"{_SAVE}{_COMMIT}",
        f"{_COMMIT_THEN_SAVE}{_SAVE}    return staging, books\n",
        "test_an_attempt_that_died_behind_the_commit_finds_its_books",
    ),
    _writing(
        "what the writer says taken for the count",
        '"counted": catalog.batch(staging).rows,',
        '"counted": books.rows.staged,',
        "test_the_table_is_counted_and_not_the_books",
    ),
    _writing(
        "what must be there taken for what is",
        '"candidate": catalog.scan(staging.table, staging.head, staging.branch).rows,',
        '"candidate": before - books.removed_rows + books.rows.kept + books.rows.staged,',
        "test_the_table_is_counted_and_not_the_books",
    ),
    _writing(
        "rows carried over that are missing",
        "before - books.removed_rows + books.rows.kept + books.rows.staged,",
        "before - books.removed_rows + books.rows.staged,",
        "test_the_table_is_counted_and_not_the_books",
    ),
    _writing(
        "rows set aside that nobody counts",
        "quarantined=counts.rejected,",
        "quarantined=0,",
        "test_rows_that_are_set_aside_are_in_the_books",
    ),
    _evidence(
        "a file that was changed",
        "if hashlib.sha256(content).hexdigest() != digest:",
        "if False:",
        "test_a_changed_file_is_no_evidence",
    ),
    _evidence(
        "a file that is missing",
        "if not source.exists():\n            raise",
        "if False:\n            raise",
        "test_a_missing_file_is_said_so",
    ),
    _kept(
        "a plan, books or a report of an attempt that another has taken the place of",
        'if closed or any(int(n.removesuffix(".json")) > now.number for n in later):',
        "if closed:",
        "test_books_and_report_are_those_of_the_attempt_that_went_on[stage-staging]",
    ),
    _documents(
        "a document that two attempts write at once",
        'f".{name}.{os.getpid()}.{secrets.token_hex(4)}"',
        'f".{name}.{os.getpid()}"',
        "test_two_attempts_in_one_process_write_into_no_document_of_each_other",
    ),
    _kept(
        "rows set aside by an attempt that another has taken the place of",
        "            try:\n                self.refuse_late()\n",
        "            try:\n                pass\n",
        "test_the_rows_set_aside_are_those_of_the_attempt_that_went_on",
    ),
    _kept(
        "a folder that comes back behind the end of its run with a step's facts",
        "if current().step not in _FIRST_STEPS and not self._documents.names():",
        "if False:",
        "test_a_late_attempts_facts_do_not_bring_the_folder_back[stage]",
    ),
    _kept(
        "a folder that comes back behind the end of its run with a union's note",
        "        if not _planned(self._documents.names()):\n",
        "        if False:\n",
        "test_a_late_union_takes_nothing_of_a_run_that_has_ended",
    ),
    _kept(
        "notes of a damaged folder, removed with what a late attempt made",
        "if closed and not [name for name in names if name != self.scratch.name]:",
        "if closed:",
        "test_what_a_damaged_folder_tells_of_its_run_stays",
    ),
    _kept(
        "a plan in the place of the one that was gone by",
        "        if not self.has_plan(number):\n            self._write(",
        "        if True:\n            self._write(",
        "test_a_plan_is_fixed_once",
    ),
    _naming(
        "a file that a later attempt overwrites",
        'return f"{evidence_folder(location)}/{run_id}-{digest[:16]}.json"',
        'return f"{evidence_folder(location)}/{run_id}.json"',
        "test_a_late_attempt_writes_beside_what_is_sealed",
    ),
    _evidence(
        "files of other runs",
        'if f.path.rsplit("/", 1)[-1].startswith(f"{run_id}-")]',
        "]",
        "test_discard_leaves_other_runs_alone",
    ),
    _relations(
        "a verdict on rows that the store did not give",
        "            raise failure\n    finally:",
        "            pass\n    finally:",
        "test_a_store_that_goes_away_in_an_audit_is_no_verdict",
    ),
    _remote(
        "rows read where another thread is",
        "self._own = threading.local()",
        'self._own = type("Shared", (), {})()',
        "test_each_thread_reads_an_open_file_at_its_own_place",
    ),
    _runs(
        "another audit's report",
        "return Report.from_json(self._read(_report_of(beside=beside)), digest=digest)",
        "return Report.from_json(self._read(_report_of(beside=beside)))",
        "test_another_audits_report_is_not_taken",
    ),
    _activities(
        "what another run published before the branch was opened, once more",
        "        self._refuse_done(run)\n",
        "",
        "test_what_another_run_published_before_the_branch_was_opened_is_not_published",
    ),
    _kafka(
        "records that retention deleted before a run came",
        "if first > wanted:",
        "if False:",
        "test_records_that_retention_took_before_a_run_came_are_an_error",
    ),
    _kafka(
        "the offsets of a topic that was made anew",
        'if (state["topic"], state["id"]) != (self.spec.topic, found.id):',
        "if False:",
        "test_a_topic_made_anew_is_another_one",
    ),
    _kafka(
        "a plan that another run's offsets have overtaken",
        'return (since.state if since else None) != plan.work["after"]',
        "return False",
        "test_what_another_run_has_read_is_done",
    ),
    _kafka_reader(
        "an offset that was jumped over",
        'if found != wanted and (found < wanted or self.spec.gaps == "fail"):',
        "if found < wanted:",
        "test_gaps_of_transactions_are_told_unless_they_are_allowed",
    ),
    _kafka_reader(
        "records that retention deletes while they are read",
        "if first > self.start:",
        "if False:",
        "test_records_that_retention_takes_while_they_are_read_are_an_error",
    ),
    _jdbc(
        "rows without a cursor, which no run would read",
        'if found["n"] != found["c"]:',
        "if False:",
        "test_rows_without_a_cursor_are_not_left_out_unheard",
    ),
    _frames(
        "another number of rows than the database counted",
        "if self._given != self.counts.read:",
        "if False:",
        "test_rows_that_come_between_count_and_read_are_noticed",
    ),
    _tasks(
        "a part of the input that Spark lost",
        "if sorted(found) != list(range(count)):",
        "if False:",
        "test_a_part_that_is_lost_is_an_error",
    ),
    _tasks(
        "a part that Spark read twice, and not to the same rows",
        "if found.setdefault(books.part, books) != books:",
        "if found.setdefault(books.part, books) is None:",
        "test_a_part_that_reads_otherwise_the_second_time_is_an_error",
    ),
    _tasks(
        "a part that ended in an error",
        "if books.error is not None:",
        "if False:",
        "test_what_ended_a_part_is_raised_here",
    ),
)
