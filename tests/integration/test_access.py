"""Who may see what, tried on the real servers with real tokens and keys."""

import contextlib
import os
import re
import stat
import subprocess
from dataclasses import dataclass

import boto3
import httpx
import psycopg
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from pyarrow import fs

from deploy.make_env import WORDS, Issuer
from tests.servers.__main__ import _kept, holder, running
from tests.servers.composed import Composed
from wap.access import Role

pytestmark = pytest.mark.server

ROLES = [str(role) for role in Role]
HASH = re.compile(r"\b[0-9a-f]{64}\b")


class Nessie:
    """Nessie's API v2 as somebody with a token sees it."""

    def __init__(self, servers: Composed, token: str | None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # One connection a request: nobody has to close what is kept.
        limits = httpx.Limits(max_keepalive_connections=0)
        base = servers.nessie.uri
        self.http = httpx.Client(base_url=base, headers=headers, timeout=30, limits=limits)

    def status(self, method: str, path: str, body: object = None) -> int:
        return self.http.request(method, path, json=body).status_code

    def head(self, ref: str) -> str:
        return self.http.get(f"/trees/{ref}").raise_for_status().json()["reference"]["hash"]

    def branch(self, name: str) -> None:
        body = {"type": "BRANCH", "name": "main", "hash": self.head("main")}
        params = {"name": name, "type": "BRANCH"}
        self.http.post("/trees", params=params, json=body).raise_for_status()

    def put(self, ref: str, table: str, location: str) -> str:
        path = f"/trees/{ref}@{self.head(ref)}/history/commit"
        self.http.post(path, json=commit(table, location)).raise_for_status()
        return self.head(ref)

    def merge(self, branch: str) -> None:
        body = {"fromRefName": branch, "fromHash": self.head(branch)}
        path = f"/trees/main@{self.head('main')}/history/merge"
        assert self.http.post(path, json=body).raise_for_status().json()["wasSuccessful"]


def commit(table: str, location: str) -> dict[str, object]:
    content = {
        "type": "ICEBERG_TABLE", "metadataLocation": location,
        "snapshotId": 1, "schemaId": 0, "specId": 0, "sortOrderId": 0,
    }  # fmt: skip
    put = {"type": "PUT", "key": {"elements": [table]}, "content": content}
    return {"commitMeta": {"message": f"put {table}"}, "operations": [put]}


@dataclass
class Told:
    """What is there after three runs: one published, one rejected, one that is staged now.

    Attributes:
        published: commits of the published run's branch.
        hidden: commits that are in nothing published.
    """

    published: list[str]
    hidden: list[str]


def as_role(servers: Composed, role: str) -> Nessie:
    return Nessie(servers, servers.variables[f"NESSIE_{role.upper()}_TOKEN"])


@pytest.fixture(scope="module")
def told(server_mode) -> Told:
    engineer = as_role(server_mode, "engineer")
    engineer.put("main", "regions", "s3://lake/warehouse/regions/1.json")
    for name in ("run-1", "run-2", "run-3"):
        engineer.branch(name)
    staged = engineer.put("run-1", "orders", "s3://lake/warehouse/orders/1.json")
    sealed = engineer.put("run-1", "customers", "s3://lake/warehouse/customers/1.json")
    engineer.merge("run-1")
    rejected = engineer.put("run-2", "rejected", "s3://lake/warehouse/rejected/1.json")
    for name in ("run-1", "run-2"):
        engineer.http.delete(f"/trees/{name}@{engineer.head(name)}").raise_for_status()
    secret = engineer.put("run-3", "secret", "s3://lake/warehouse/secret/1.json")
    return Told([staged, sealed], [rejected, secret])


# --- tokens -------------------------------------------------------------------------------------


def test_nobody_without_a_token_of_ours_gets_in(server_mode):
    stranger = Issuer().token("engineer")
    for token in (None, "nonsense", stranger):
        assert Nessie(server_mode, token).status("GET", "/trees") == 401


@pytest.mark.parametrize("claim", [{"days": -1.0}, {"issuer": "somebody"}])
def test_tokens_of_yesterday_and_of_others_are_refused(server_mode, issuer, claim):
    assert Nessie(server_mode, issuer.token("engineer")).status("GET", "/trees") == 200
    assert Nessie(server_mode, issuer.token("engineer", **claim)).status("GET", "/trees") == 401


@pytest.mark.parametrize("role", ["guest", "engineers", ""])
def test_a_role_that_we_do_not_know_may_nothing(server_mode, issuer, told, role):
    guest = Nessie(server_mode, issuer.token(role))
    assert guest.http.get("/trees").json()["references"] == []
    assert guest.status("GET", "/trees/main/entries") == 403


# --- Nessie -------------------------------------------------------------------------------------


def test_a_consumer_reads_main(server_mode, told):
    consumer = as_role(server_mode, "consumer")
    assert [r["name"] for r in consumer.http.get("/trees").json()["references"]] == ["main"]
    entries = consumer.http.get("/trees/main/entries").json()["entries"]
    assert {e["name"]["elements"][0] for e in entries} == {"regions", "orders", "customers"}
    found = consumer.http.get("/trees/main/contents/orders").json()["content"]
    assert found["metadataLocation"] == "s3://lake/warehouse/orders/1.json"


def changes(nessie: Nessie, engineer: Nessie) -> dict[str, int]:
    """Every way to change something, and how it is answered."""
    main, staged = engineer.head("main"), engineer.head("run-3")
    base = {"type": "BRANCH", "name": "main", "hash": main}
    merge = {"fromRefName": "run-3", "fromHash": staged}
    put = commit("t", "s3://lake/warehouse/t/1.json")
    moved = {"fromRefName": "run-3", "hashesToTransplant": [staged]}
    return {
        "branch": nessie.status("POST", "/trees?name=mine&type=BRANCH", base),
        "tag": nessie.status("POST", "/trees?name=mine&type=TAG", base),
        "assign": nessie.status("PUT", f"/trees/main@{main}?type=BRANCH", base),
        "delete": nessie.status("DELETE", f"/trees/run-3@{staged}"),
        "merge": nessie.status("POST", f"/trees/main@{main}/history/merge", merge),
        "transplant": nessie.status("POST", f"/trees/main@{main}/history/transplant", moved),
        "commit": nessie.status("POST", f"/trees/main@{main}/history/commit", put),
        "stage": nessie.status("POST", f"/trees/run-3@{staged}/history/commit", put),
    }  # fmt: skip


@pytest.mark.parametrize("role", ["consumer", "auditor", "guest"])
def test_who_reads_changes_nothing(server_mode, issuer, told, role):
    engineer = as_role(server_mode, "engineer")
    before = engineer.http.get("/trees").json()
    answers = changes(Nessie(server_mode, issuer.token(role)), engineer)
    assert set(answers.values()) == {403}, answers
    assert engineer.http.get("/trees").json() == before


BRANCH_READS = (
    "/trees/run-3", "/trees/run-3/entries", "/trees/run-3/contents/secret", "/trees/run-3/history",
    "/trees/main/diff/run-3", "/trees/run-3/diff/main", "/trees/main/history",
)  # fmt: skip


@pytest.mark.parametrize("path", BRANCH_READS)
def test_a_consumer_sees_no_branch_and_no_log_and_an_auditor_does(server_mode, told, path):
    assert as_role(server_mode, "consumer").status("GET", path) == 403
    assert as_role(server_mode, "auditor").status("GET", path) == 200


def test_hole_a_consumer_who_knows_a_hash_reads_what_is_staged(server_mode, told):
    """Nessie's, not ours: it asks for the ref's name and not whether the commit lies on it.

    Turns red when Nessie closes it; then docs/server.md, «Access», can say so.
    """
    _, secret = told.hidden
    consumer = as_role(server_mode, "consumer")
    assert consumer.status("GET", f"/trees/main@{secret}/contents/secret") == 200
    assert consumer.status("GET", f"/trees/@{secret}/contents/secret") == 403


def test_a_consumer_is_shown_no_hash_of_what_is_staged_or_rejected(server_mode, told):
    """The hole is of use only to who knows a hash, so everything a consumer can reach is read."""
    consumer = as_role(server_mode, "consumer")
    texts, hashes = reached(consumer)
    assert set(told.published) <= hashes, "a merge names the branch it came from: all is published"
    assert not hashes & set(told.hidden)
    assert "secret" not in texts
    assert "rejected" not in texts


def reached(consumer: Nessie) -> tuple[str, set[str]]:
    """Every answer a consumer gets by following each hash that it was shown, and the hashes."""
    overall = ("/trees?fetch=ALL", "/trees/main?fetch=ALL", "/trees/main/recent-changes", "/config")
    texts = [consumer.http.get(path).text for path in overall]
    known: set[str] = set()
    while fresh := set(HASH.findall("".join(texts))) - known:
        known |= fresh
        for one in fresh:
            texts += [
                consumer.http.get(f"/trees/{ref}/{what}").text
                for ref in (f"main@{one}", f"main@{one}~1", f"-@{one}")
                for what in ("entries?content=true", "history?fetch=ALL", "diff/main")
            ]
    return "".join(texts), known


# --- S3 -----------------------------------------------------------------------------------------


def s3(servers: Composed, role: str, secret: str | None = None):
    return boto3.client(
        "s3", endpoint_url=servers.s3_endpoint, region_name="us-east-1", aws_access_key_id=role,
        aws_secret_access_key=secret or servers.variables[f"S3_{role.upper()}_SECRET"],
        config=Config(retries={"max_attempts": 1}),
    )  # fmt: skip


@pytest.fixture(scope="module")
def lake(server_mode):
    """Objects in the warehouse and beside it."""
    admin = s3(server_mode, "admin")
    for key in ("warehouse/t/data.parquet", "warehouse-2/t/data.parquet", "other"):
        admin.put_object(Bucket="lake", Key=key, Body=b"1")
    return admin


def allowed(client) -> set[str]:
    """What the server lets somebody do, each tried."""
    asked = {
        "get": lambda: client.get_object(Bucket="lake", Key="warehouse/t/data.parquet"),
        "head": lambda: client.head_object(Bucket="lake", Key="warehouse/t/data.parquet"),
        "get beside": lambda: client.get_object(Bucket="lake", Key="warehouse-2/t/data.parquet"),
        "get elsewhere": lambda: client.get_object(Bucket="lake", Key="other"),
        "list": lambda: client.list_objects_v2(Bucket="lake", Prefix="warehouse/t/"),
        "list beside": lambda: client.list_objects_v2(Bucket="lake", Prefix="warehouse-2/"),
        "list all": lambda: client.list_objects_v2(Bucket="lake"),
        "put": lambda: client.put_object(Bucket="lake", Key="warehouse/new", Body=b"2"),
        "put over": lambda: client.put_object(Bucket="lake", Key="warehouse/new", Body=b"3"),
        "put beside": lambda: client.put_object(Bucket="lake", Key="warehouse-2/new", Body=b"2"),
        "delete": lambda: client.delete_object(Bucket="lake", Key="warehouse/new"),
        "upload": lambda: client.create_multipart_upload(Bucket="lake", Key="warehouse/parts"),
        "uploads": lambda: client.list_multipart_uploads(Bucket="lake", Prefix="warehouse/"),
        "policy": lambda: client.get_bucket_policy(Bucket="lake"),
        "new policy": lambda: client.put_bucket_policy(Bucket="lake", Policy="{}"),
        "bucket": lambda: client.create_bucket(Bucket="mine"),
        "drop": lambda: client.delete_bucket(Bucket="lake"),
    }
    done = set()
    for name, call in asked.items():
        with contextlib.suppress(ClientError):
            call()
            done.add(name)
    return done


def test_a_consumer_gets_what_it_was_pointed_to_and_finds_nothing_by_itself(server_mode, lake):
    assert allowed(s3(server_mode, "consumer")) == {"get", "head"}


def test_an_auditor_lists_the_warehouse_too(server_mode, lake):
    assert allowed(s3(server_mode, "auditor")) == {"get", "head", "list"}


def test_an_engineer_writes_the_warehouse_and_nothing_beside_it(server_mode, lake):
    may = {"get", "head", "list", "put", "put over", "delete", "upload", "uploads"}
    assert allowed(s3(server_mode, "engineer")) == may


@pytest.mark.parametrize(
    ("role", "key", "may"),
    [
        ("engineer", "lake/warehouse/streamed", True),
        ("engineer", "lake/warehouse-2/streamed", False),
        ("auditor", "lake/warehouse/streamed", False),
    ],
)
def test_a_streamed_upload_is_judged_like_any_other(server_mode, lake, role, key, may):
    """SeaweedFS asks the bucket's policy only where a request is signed as a whole."""
    own = server_mode.file_io(role)
    files = fs.S3FileSystem(
        access_key=role, secret_key=own["s3.secret-access-key"], region=own["s3.region"],
        endpoint_override=server_mode.s3_endpoint,
    )  # fmt: skip
    with contextlib.nullcontext() if may else pytest.raises(OSError, match="ACCESS_DENIED"):  # noqa: SIM117
        with files.open_output_stream(key) as stream:
            stream.write(b"1")


def test_wrong_keys_get_nothing(server_mode, lake):
    assert not allowed(s3(server_mode, "engineer", "not-the-secret"))


# --- PostgreSQL, and what compose asks its services ----------------------------------------------


@pytest.mark.parametrize("user", ["nessie", "wap", "temporal", "datahub"])
def test_each_part_has_a_database_of_its_own(server_mode, user):
    password = server_mode.variables[f"{user.upper()}_DB_PASSWORD"]
    at = f"host=127.0.0.1 port={server_mode.postgres.port} user={user} password={password}"
    own = {user, f"{user}_visibility"}
    for database in ("nessie", "wap", "temporal", "temporal_visibility", "datahub"):
        if database in own:
            psycopg.connect(f"{at} dbname={database}").close()
        else:
            with pytest.raises(psycopg.OperationalError, match="permission denied"):
                psycopg.connect(f"{at} dbname={database}")


PORTS = {
    "postgres": ("5432", lambda s: s.postgres.port),
    "nessie": ("9000", lambda s: s.nessie.management),
    "seaweedfs": ("8333", lambda s: s.s3_port),
}


@pytest.mark.parametrize("name", PORTS)
def test_health_checks_tell_a_server_that_is_there_from_one_that_is_not(server_mode, name):
    port, at = PORTS[name]
    _, *command = server_mode.services[name]["healthcheck"]["test"]

    def asked(number: int) -> int:
        words = [word.replace(port, str(number)) for word in command]
        return subprocess.run(words, check=False, capture_output=True, timeout=30).returncode

    assert asked(at(server_mode)) == 0
    assert asked(1) != 0


# --- make servers -------------------------------------------------------------------------------


def test_servers_are_started_once_and_known_by_who_keeps_them(server_mode):
    assert holder(server_mode.folder) == os.getpid()
    with pytest.raises(SystemExit, match="run already"), running(server_mode.folder):
        raise AssertionError


def test_passwords_stay_with_the_databases_that_were_made_with_them(tmp_path, issuer):
    first, again = (_kept(tmp_path / "variables.json", issuer) for _ in range(2))
    assert {name: first[name] for name in WORDS} == {name: again[name] for name in WORDS}


@pytest.mark.parametrize("role", ROLES)
def test_a_projects_environment_is_written_for_its_owner_alone(server_mode, role):
    path = server_mode.folder / f"{role}.env"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    command = ["/bin/sh", "-c", f". {path} && env"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env={}).stdout
    told = dict(line.split("=", 1) for line in said.splitlines())
    assert told | server_mode.project_environment(role) == told
    others = {k for k in server_mode.variables if k.endswith(("_SECRET", "_TOKEN", "_PASSWORD"))}
    mine = {f"S3_{role.upper()}_SECRET", f"NESSIE_{role.upper()}_TOKEN"}
    mine |= {"WAP_DB_PASSWORD"} if role == "engineer" else set()
    assert not [name for name in others - mine if server_mode.variables[name] in said]
