"""``wap serve`` as its users meet it: a real server on loopback, asked over HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from wap.api.limits import MAX_BODY
from wap.ledger import open_ledger
from wap.model import Ending, RunFacts, RunResult

pytestmark = pytest.mark.server

ENGINEER, AUDITOR = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
TOKENS = {"WAP_API__TOKEN": ENGINEER, "WAP_API__AUDITOR_TOKEN": AUDITOR}
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NEW = {"If-None-Match": "*"}

PIPELINE = """\
table: shop.{name}
source: {{kind: files, path: "data/*.csv", format: csv}}
write: {{mode: append}}
contracts: [contracts/{name}.yml]
"""
CONTRACT = "dataset: wap/shop/{name}\ncolumns: []\nchecks:\n- row_count:\n"


def texts(name: str, **changes: Any) -> dict[str, Any]:
    contract = {"path": f"contracts/{name}.yml", "text": CONTRACT.format(name=name)}
    return {"pipeline": PIPELINE.format(name=name), "contracts": [contract], **changes}


def put(name: str, **changes: Any) -> dict[str, Any]:
    return {**texts(name), "author": "ann", "reason": "because", **changes}


@dataclass
class Served:
    """A server and callers of it."""

    root: Path
    url: str
    process: subprocess.Popen[str]

    def client(self, token: str | None) -> httpx.Client:
        headers = {b"Authorization": f"Bearer {token}".encode("latin-1")} if token else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)


def start(root: Path, *args: str, **env: str) -> Served:
    own = {k: v for k, v in os.environ.items() if not k.startswith(("WAP_", "TEMPORAL_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "wap", "serve", "--project", str(root), "--port", "0", *args],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**own, **env},
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith("serving "):
        _, said = process.communicate(timeout=60)
        pytest.fail(f"exit code {process.returncode}: {said}")
    return Served(root, line.split()[1], process)


def stop(served: Served) -> str:
    served.process.send_signal(signal.SIGTERM)
    _, said = served.process.communicate(timeout=60)
    assert served.process.returncode == 0, said
    return said


def refused(root: Path, *args: str, **env: str) -> str:
    """What a server says that does not start."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("WAP_", "TEMPORAL_"))}
    done = subprocess.run(
        [sys.executable, "-m", "wap", "serve", "--project", str(root), "--port", "0", *args],
        capture_output=True, text=True, check=False, env={**own, **env}, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def served(postgres: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server over Postgres that all tests share; each names pipelines of its own."""
    root = tmp_path_factory.mktemp("api")
    (root / "wap.toml").touch()
    name = postgres.database()
    served = start(root, WAP_LEDGER__URL=postgres.url(name), **TOKENS)
    with closing(open_ledger(postgres.url(name))) as ledger:
        for n in range(5):
            ledger.finish(facts(f"orders-{n}", AT + timedelta(hours=n)))
    reports = root / "reports" / "orders-1"
    reports.mkdir(parents=True)
    (reports / "report.json").write_text('{"format": 1}')
    (reports / "report.html").write_text("<title>report</title>")
    yield served
    said = stop(served)
    assert "Traceback" not in said, "a request of these tests met a bug"
    assert ENGINEER not in said
    postgres.drop(name)


def facts(run_id: str, at: datetime) -> RunFacts:
    result = RunResult(run_id=run_id, pipeline="orders", table="n.t", ending=Ending.PUBLISHED)
    return RunFacts(
        result=result, pipeline_digest="d", pipeline_version=3, source_kind="files",
        source_location="x", started_at=at, ended_at=at,
    )  # fmt: skip


@pytest.fixture
def engineer(served: Served) -> Iterator[httpx.Client]:
    with served.client(ENGINEER) as client:
        yield client


@pytest.fixture
def auditor(served: Served) -> Iterator[httpx.Client]:
    with served.client(AUDITOR) as client:
        yield client


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    assert told["status"] == status
    assert {"type", "title", "detail", "where", "hint", "error"} <= set(told)
    return told


# --- pipelines ---------------------------------------------------------------------------------


def test_a_pipeline_is_stored_changed_and_deleted_and_its_history_stays(engineer):
    made = engineer.put("/pipelines/life", json=put("life"), headers=NEW)
    assert (made.status_code, made.json()["version"], made.headers["etag"]) == (200, 1, '"1"')
    assert engineer.get("/pipelines/life").json() == made.json()

    second = put("life", pipeline=PIPELINE.format(name="life") + "owners: [a]\n", reason="owned")
    changed = engineer.put("/pipelines/life", json=second, headers={"If-Match": '"1"'})
    assert changed.json()["version"] == 2

    contract = CONTRACT.format(name="life") + "- duplicate: {columns: [id]}\n"
    third = {"text": contract, "author": "bob", "reason": "unique"}
    path = "/pipelines/life/contracts/contracts/life.yml"
    assert engineer.put(path, json=third, headers={"If-Match": '"2"'}).json()["version"] == 3
    assert engineer.get(path).json() == {"path": "contracts/life.yml", "text": contract}

    told = engineer.get("/pipelines/life/diff", params={"old": 1}).json()
    assert (told["old"], told["new"]) == (1, 3)
    assert "+owners: [a]\n" in told["difference"]
    assert "+- duplicate: {columns: [id]}\n" in told["difference"]

    gone = engineer.delete(
        "/pipelines/life", params={"author": "ann", "reason": "sold"}, headers={"If-Match": '"3"'}
    )
    assert (gone.status_code, gone.json()["deleted"]) == (200, True)
    problem(engineer.get("/pipelines/life"), 404)
    history = engineer.get("/pipelines/life/versions").json()["items"]
    assert [(v["version"], v["author"], v["reason"]) for v in history] == [
        (4, "ann", "sold"), (3, "bob", "unique"), (2, "ann", "owned"), (1, "ann", "because"),
    ]  # fmt: skip
    assert engineer.get("/pipelines/life/versions/2").json() == changed.json()


def test_a_put_that_is_sent_again_is_one_version(engineer):
    answers = [engineer.put("/pipelines/again", json=put("again"), headers=NEW) for _ in range(3)]
    assert [a.json()["version"] for a in answers] == [1, 1, 1]
    assert len(engineer.get("/pipelines/again/versions").json()["items"]) == 1


def test_of_many_that_saw_one_version_one_wins(engineer, served):
    engineer.put("/pipelines/race", json=put("race"), headers=NEW)

    def change(n: int) -> int:
        text = PIPELINE.format(name="race") + f"description: by {n}\n"
        with served.client(ENGINEER) as client:
            answer = client.put(
                "/pipelines/race", json=put("race", pipeline=text), headers={"If-Match": '"1"'}
            )
        if answer.status_code != 200:
            assert problem(answer, 409)["error"] == "VersionMovedError"
        return answer.status_code

    with ThreadPoolExecutor(8) as pool:
        codes = sorted(pool.map(change, range(12)))
    assert codes == [200, *[409] * 11]
    assert engineer.get("/pipelines/race").json()["version"] == 2


def test_a_change_says_what_it_saw(engineer):
    assert "If-Match" in problem(engineer.put("/pipelines/blind", json=put("blind")), 428)["detail"]
    for tag in ("3", 'W/"3"', '"x"', '"0"', '"99999999999"', "*"):
        answer = engineer.put("/pipelines/blind", json=put("blind"), headers={"If-Match": tag})
        problem(answer, 400)
    answer = engineer.put("/pipelines/blind", json=put("blind"), headers={"If-Match": '"7"'})
    assert "found no version" in problem(answer, 409)["detail"]
    problem(engineer.get("/pipelines/blind"), 404)


@pytest.mark.parametrize(
    ("change", "where", "hint"),
    [
        ({"pipeline": PIPELINE.format(name="bad").replace("append", "apend")},
         "pipeline bad, draft, line 3, key write.mode", "did you mean 'append'?"),
        ({"pipeline": PIPELINE.format(name="bad") + "transform: [a]\n"},
         "pipeline bad, draft, line 5, key transform", "before they are read"),
        ({"pipeline": "table: [\n"}, "pipeline bad, draft, line 2", ""),
        ({"contracts": []}, "pipeline bad, draft, line 4, key contracts", "every contract"),
        ({"contracts": [{"path": "contracts/bad.yml", "text": "dataset: wap/shop/bad\n"
                         "columns: []\nchecks:\n- row_cuont:\n"}]},
         "pipeline bad, draft, contracts/bad.yml:4", "did you mean 'row_count'?"),
        ({"pipeline": PIPELINE.format(name="bad").replace("data/", "https://u:hunter2@h/")},
         "pipeline bad, draft, line 2, key source.path", "environment"),
        ({"reason": " "}, "reason", ""),
        ({"author": "a\nb"}, "author", ""),
    ],
)  # fmt: skip
def test_what_is_not_valid_is_refused_as_a_file_would_be(engineer, change, where, hint):
    told = problem(engineer.put("/pipelines/bad", json=put("bad", **change), headers=NEW), 422)
    assert told["where"] == where
    assert hint in told["hint"]
    assert "hunter2" not in json.dumps(told)
    problem(engineer.get("/pipelines/bad"), 404)


def test_texts_are_validated_without_being_stored(engineer):
    told = engineer.post("/pipelines/dry/validate", json=texts("dry")).json()
    assert told == {"table": "shop.dry", "checks": ["contracts/dry.yml:checks.row_count"]}
    wrong = texts("dry", pipeline="table: x\n")
    assert problem(engineer.post("/pipelines/dry/validate", json=wrong), 422)["where"]
    problem(engineer.get("/pipelines/dry"), 404)


def test_long_lists_come_page_by_page(engineer):
    for name in ("page-a", "page-b", "page-c"):
        assert engineer.put(f"/pipelines/{name}", json=put(name), headers=NEW).status_code == 200
    seen, after = [], "page"
    while after is not None:
        page = engineer.get("/pipelines", params={"limit": 2, "after": after}).json()
        seen += [v["name"] for v in page["items"]]
        after = page["next"]
    assert [name for name in seen if name.startswith("page-")] == ["page-a", "page-b", "page-c"]
    runs, before = [], {}
    while before is not None:
        page = engineer.get("/runs", params={"limit": 2, "pipeline": "orders", **before}).json()
        runs.append([f["result"]["run_id"] for f in page["items"]])
        before = {"before": page["next"]} if page["next"] else None
    assert runs == [["orders-4", "orders-3"], ["orders-2", "orders-1"], ["orders-0"]]


# --- runs and reports --------------------------------------------------------------------------


def test_runs_and_reports_are_read(auditor):
    run = auditor.get("/runs/orders-1").json()
    assert (run["result"]["ending"], run["pipeline_version"]) == ("published", 3)
    assert auditor.get("/runs/orders-1/report").json() == {"format": 1}
    page = auditor.get("/runs/orders-1/report.html")
    assert (page.text, page.headers["content-type"]) == (
        "<title>report</title>", "text/html; charset=utf-8",
    )  # fmt: skip
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for path in ("/runs/nobody", "/runs/orders-2/report", "/runs/nobody/report.html"):
        problem(auditor.get(path), 404)


# --- who may do what ---------------------------------------------------------------------------

READS = ("/pipelines", "/pipelines/x", "/pipelines/x/versions", "/runs", "/runs/x/report.html")


def changes(client: httpx.Client) -> list[httpx.Response]:
    return [
        client.put("/pipelines/mine", json=put("mine"), headers=NEW),
        client.put("/pipelines/mine/contracts/c.yml", json={}, headers={"If-Match": '"1"'}),
        client.delete("/pipelines/mine", params={"author": "a", "reason": "r"}),
        client.post("/pipelines/mine/validate", json=texts("mine")),
    ]


@pytest.mark.parametrize(
    "token",
    [None, "wrong", ENGINEER[:-1], f"{ENGINEER}x", "ü" * 20],
    ids=["none", "wrong", "short", "long", "odd"],  # the tokens are new in each process
)
def test_without_a_token_nothing_is_shown_or_changed(served, engineer, token):
    with served.client(token) as client:
        for answer in [*(client.get(path) for path in READS), *changes(client)]:
            problem(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"
        assert client.get("/health").json() == {"status": "ok"}
    problem(engineer.get("/pipelines/mine"), 404)


def test_an_auditor_reads_and_changes_nothing(auditor, engineer):
    assert {auditor.get(path).status_code for path in READS} <= {200, 404}
    for answer in changes(auditor):
        problem(answer, 403)
    problem(engineer.get("/pipelines/mine"), 404)


def test_another_scheme_is_no_token(served):
    with served.client(None) as client:
        problem(client.get("/runs", headers={"Authorization": f"Basic {ENGINEER}"}), 401)


def test_a_page_of_another_name_reaches_nothing(engineer):
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", ""):
        problem(engineer.get("/health", headers={"Host": host}), 421)
    for host in ("localhost", "127.0.0.1:1", "[::1]:8686"):
        assert engineer.get("/health", headers={"Host": host}).status_code == 200


def test_reads_may_be_open_and_changes_never_are(tmp_path):
    (tmp_path / "wap.toml").touch()
    served = start(tmp_path, "--open-reads")
    with served.client(None) as client:
        assert {client.get(path).status_code for path in READS} == {200, 404}
        for answer in changes(client):
            problem(answer, 401)
    with served.client("wrong") as client:
        problem(client.get("/runs"), 401)
    stop(served)


def test_a_server_that_would_be_open_does_not_start(tmp_path):
    (tmp_path / "wap.toml").touch()
    told = refused(tmp_path, "--host", "::", "--open-reads")
    assert "without a token nothing is served at ::" in told


# --- hostile input -----------------------------------------------------------------------------

ODD = ["..", "../x", "..%2f..%2fetc%2fpasswd", "%00", "%ff", "a%0ab", "ü", "x" * 300, "a.b", "-x",
       "%2e%2e", "🛫", "'; drop table versions; --", "{name}"]  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
def test_odd_names_are_refused(engineer, odd):
    for answer in (
        engineer.get(f"/pipelines/{odd}"),
        engineer.get(f"/pipelines/{odd}/versions"),
        engineer.get(f"/runs/{odd}"),
        engineer.get(f"/runs/{odd}/report.html"),
        engineer.get(f"/runs/{odd}/report"),
        engineer.get("/pipelines", params={"after": odd}),
        engineer.get("/runs", params={"before": odd, "pipeline": odd}),
        engineer.put(f"/pipelines/{odd}", json=put("x"), headers=NEW),
        engineer.put(
            f"/pipelines/page-a/contracts/{odd}",
            json={"text": "x", "author": "a", "reason": "r"}, headers={"If-Match": '"1"'},
        ),
    ):  # fmt: skip
        # httpx takes .. out of a path, and some of these are fine behind after=.
        assert answer.status_code in {200, 401, 404, 405, 422}, answer.text
        assert "root:" not in answer.text


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(f'*{chr(97 + n)}' for _ in range(9))}]\n"
    for n in range(9)
)


def contract(text: str, path: str = "contracts/x.yml") -> dict[str, Any]:
    return put("x", contracts=[{"path": path, "text": text}])


def longer(line: str) -> dict[str, Any]:
    return put("x", pipeline=PIPELINE.format(name="x") + line)


RAW = [
    b"", b"{", b"null", b"[]", b'"x"', b"1e999", b"\xff\xfe", b"[" * 100_000,
    b'{"pipeline":' * 9_000, b'{"pipeline": ' + b"9" * 9_000 + b"}",
]  # fmt: skip
DOCUMENTS = [
    put("x", pipeline=7),
    put("x", pipeline=None, contracts="x"),
    put("x", contracts=[{"path": 1}, {}, None]),
    put("x", more="x"),
    put("x", pipeline="\ud800"),
    put("x", author="\ud800"),
    put("x", reason="a\0b"),
    put("x", reason="r" * 5_000),
    put("x", pipeline="a: \0"),
    put("x", pipeline="[" * 50_000),
    put("x", pipeline="- " * 50_000),
    put("x", pipeline=BOMB),
    put("x", pipeline="a: 2001-99-99\n"),
    put("x", pipeline="a: !!python/object/apply:os.system [x]\n"),
    longer('description: "\\ud800"\n'),
    longer(f"partitioning: ['{'(' * 9_000}']\n"),
    put("x", pipeline=PIPELINE.format(name="x").replace("shop.x", f"shop.{'x' * 2_000}")),
    put("x", contracts=[{"path": f"c{n}.yml", "text": "x"} for n in range(99)]),
    contract("x", path="../../etc/passwd"),
    contract("x", path="/etc/passwd"),
    contract(BOMB),
    contract("[" * 50_000),
    contract("dataset: 1\ncolumns: 2\n"),
    contract('dataset: "\\ud800"\n'),
    contract("dataset: wap/shop/x\ncolumns: [{name: {}}]\nchecks: {}\n"),
]
BODIES = [*RAW, *(json.dumps(document).encode() for document in DOCUMENTS)]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_hostile_bodies_are_refused(engineer, body):
    headers = {**NEW, "Content-Type": "application/json"}
    told = engineer.put("/pipelines/x", content=body, headers=headers)
    assert told.status_code in {400, 422}, told.text
    problem(told, told.status_code)
    assert len(told.content) < 5_000, "an answer does not repeat what was sent"
    problem(engineer.get("/pipelines/x"), 404)


def test_odd_characters_are_stored_as_they_came(engineer):
    text = PIPELINE.format(name="odd") + 'owners: ["a\\0b", "🛫", "\\u202e"]\n'
    odd = 'dataset: wap/shop/odd\ncolumns: [{name: "a\\0b", checks: [{missing: }]}]\n'
    body = put("odd", pipeline=text, contracts=[{"path": "contracts/odd.yml", "text": odd}])
    made = engineer.put("/pipelines/odd", json=body, headers=NEW).json()
    assert (made["pipeline"], made["contracts"][0]["text"]) == (text, odd)
    assert engineer.get("/pipelines/odd").json() == made


def test_a_body_without_a_length_is_bounded_too(engineer):
    def endless() -> Iterator[bytes]:
        for _ in range(MAX_BODY // 65_536 + 2):
            yield b" " * 65_536

    with contextlib.suppress(httpx.WriteError):  # it may hang up before we are done
        problem(engineer.put("/pipelines/x", content=endless(), headers=NEW), 413)
    problem(engineer.put("/pipelines/x", content=b" " * (MAX_BODY + 1), headers=NEW), 413)
    assert engineer.get("/health").status_code == 200


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=-1", "limit=1e9", "limit=99999999999999999999999", "limit=x", "limit=201"],
)
def test_odd_numbers_are_refused(engineer, query):
    problem(engineer.get(f"/pipelines?{query}"), 422)
    problem(engineer.get(f"/runs?{query}"), 422)
    for number in ("0", "-1", "x", "99999999999999999999"):
        problem(engineer.get(f"/pipelines/page-a/versions/{number}"), 422)


def test_other_methods_and_paths_are_problems_too(engineer):
    problem(engineer.post("/pipelines"), 405)
    problem(engineer.get("/docs"), 404)
    problem(engineer.get("/redoc"), 404)
    problem(engineer.get("/"), 404)


# --- OpenAPI, and the database that goes away --------------------------------------------------


def test_openapi_covers_every_route_and_says_what_each_needs(engineer):
    document = engineer.get("/openapi.json").json()
    found = {
        (method, path): operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert set(found) == {
        ("get", "/health"),
        ("get", "/pipelines"),
        ("get", "/pipelines/{name}"),
        ("put", "/pipelines/{name}"),
        ("delete", "/pipelines/{name}"),
        ("post", "/pipelines/{name}/validate"),
        ("get", "/pipelines/{name}/versions"),
        ("get", "/pipelines/{name}/versions/{version}"),
        ("get", "/pipelines/{name}/diff"),
        ("get", "/pipelines/{name}/contracts/{path}"),
        ("put", "/pipelines/{name}/contracts/{path}"),
        ("get", "/runs"),
        ("get", "/runs/{run_id}"),
        ("get", "/runs/{run_id}/report"),
        ("get", "/runs/{run_id}/report.html"),
    }
    for (_, path), operation in found.items():
        assert ("security" in operation) == (path != "/health"), path
        assert operation["description"], path
        assert "application/problem+json" in operation["responses"]["default"]["content"]


def test_a_database_that_is_away_is_said_so_and_comes_back(postgres, tmp_path):
    (tmp_path / "wap.toml").touch()
    name = postgres.database()
    served = start(tmp_path, WAP_LEDGER__URL=postgres.url(name), **TOKENS)
    with served.client(ENGINEER) as client:
        assert client.get("/health").status_code == 200
        postgres.stop()
        for path in ("/health", "/pipelines", "/runs"):
            answer = client.get(path)
            assert postgres.password not in answer.text
            assert problem(answer, 503)["error"] == "LedgerUnavailableError"
            assert answer.headers["retry-after"]
        postgres.restart()
        assert client.get("/health").status_code == 200
        assert client.put("/pipelines/x", json=put("x"), headers=NEW).status_code == 200
    stop(served)
    engine = sa.create_engine(postgres.url(name))
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM versions")) == 1
    engine.dispose()
    postgres.drop(name)
