"""Who may see what: rules for Nessie and bucket policies for S3, rendered for three roles."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from urllib.parse import urlsplit

from wap.errors import ConfigError


class Role(StrEnum):
    """What somebody may do; a token names it in its claim ``groups``."""

    ENGINEER = "engineer"
    AUDITOR = "auditor"
    CONSUMER = "consumer"


#: What a reader of tables asks Nessie for.
_READ = ("VIEW_REFERENCE", "READ_ENTRIES", "READ_CONTENT_KEY", "READ_ENTITY_VALUE")
#: An auditor also reads who published what.
_AUDIT = (*_READ, "LIST_COMMIT_LOG")

_GET = ("s3:GetObject",)
_WRITE = (
    "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
)  # fmt: skip
#: What each role may do with an object of the warehouse.
_ON_OBJECTS = {Role.CONSUMER: _GET, Role.AUDITOR: _GET, Role.ENGINEER: _WRITE}

_HEADER = """\
# Who may do what at Nessie, made by `wap access render nessie`.
# The server reads it from where QUARKUS_CONFIG_LOCATIONS says.
# A token's claim `groups` names the role. What no rule allows is denied, also without a token.
# How tokens are proved (quarkus.oidc.*) is set beside it."""


def nessie_rules() -> str:
    """Nessie's properties that turn on authentication and our rules.

    A consumer sees main and nothing else; an auditor sees every branch and changes nothing. No
    commit log for consumers: they need none, and it names the branches' commits.
    """
    rules = {
        Role.AUDITOR: f"'{Role.AUDITOR}' in roles && op in [{_quoted(_AUDIT)}]",
        Role.CONSUMER: f"'{Role.CONSUMER}' in roles && op in [{_quoted(_READ)}] && ref == 'main'",
        Role.ENGINEER: f"'{Role.ENGINEER}' in roles",
    }
    lines = [
        _HEADER,
        "nessie.server.authentication.enabled=true",
        "nessie.server.authorization.enabled=true",
        "nessie.server.authorization.type=CEL",
        *(f"nessie.server.authorization.rules.{role}={rule}" for role, rule in rules.items()),
    ]
    return "\n".join(lines) + "\n"


def _quoted(operations: Sequence[str]) -> str:
    return ", ".join(f"'{op}'" for op in operations)


def identity_policy(warehouse: str, role: Role) -> str:
    """A policy to attach to a user, group or role of the server; JSON text as AWS writes it.

    Args:
        warehouse: the project's, ``s3://bucket/prefix``.
        role: whom it is for.

    Raises:
        ConfigError: the warehouse is not on S3.
    """
    return _document(_statements(warehouse, role))


def bucket_policy(warehouse: str, principals: Mapping[Role, Sequence[str]]) -> str:
    """The policy of the warehouse's bucket, for all roles: a bucket has one.

    Args:
        warehouse: the project's, ``s3://bucket/prefix``.
        principals: ARNs of users or roles, by our role.

    Raises:
        ConfigError: the warehouse is not on S3, or nobody is named.
    """
    named = [(role, list(principals.get(role) or ())) for role in Role]
    statements = [
        {**statement, "Principal": {"AWS": arns}}
        for role, arns in named
        if arns
        for statement in _statements(warehouse, role)
    ]
    if not statements:
        raise ConfigError("a bucket policy is for somebody", hint="name at least one ARN")
    return _document(statements)


def _document(statements: Sequence[Mapping[str, object]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2) + "\n"


def _statements(warehouse: str, role: Role) -> list[dict[str, object]]:
    """What is allowed; everything else is denied.

    A consumer cannot list: a reader of Iceberg never does, and a listing names staged files.
    """
    bucket, prefix = _parts(warehouse)
    objects: dict[str, object] = {
        "Sid": f"{role.title()}Objects",
        "Effect": "Allow",
        "Action": list(_ON_OBJECTS[role]),
        "Resource": f"arn:aws:s3:::{bucket}/{prefix}*",
    }
    listing: dict[str, object] = {
        "Sid": f"{role.title()}List",
        "Effect": "Allow",
        "Action": ["s3:ListBucket"],
        "Resource": f"arn:aws:s3:::{bucket}",
        "Condition": {"StringLike": {"s3:prefix": [f"{prefix}*"]}},
    }
    # What a killed writer left half-way is looked for; AWS knows no prefix here.
    uploads: dict[str, object] = {
        "Sid": f"{role.title()}Uploads",
        "Effect": "Allow",
        "Action": ["s3:ListBucketMultipartUploads"],
        "Resource": f"arn:aws:s3:::{bucket}",
    }
    return {
        Role.CONSUMER: [objects],
        Role.AUDITOR: [objects, listing],
        Role.ENGINEER: [objects, listing, uploads],
    }[role]


def _parts(warehouse: str) -> tuple[str, str]:
    """Bucket and prefix; the prefix is empty or ends in a slash.

    A neighbour ``warehouse-2`` must not be taken for a part of ``warehouse``.
    """
    url = urlsplit(warehouse)
    if url.scheme not in ("s3", "s3a", "s3n") or not url.netloc:
        raise ConfigError(
            "a bucket policy needs a warehouse on S3",
            where="[catalog] warehouse",
            hint='set warehouse = "s3://bucket/prefix"',
        )
    path = url.path.strip("/")
    if "*" in path or "?" in path or "${" in path:
        raise ConfigError(
            "the warehouse's prefix holds a sign that a policy reads as a pattern",
            where="[catalog] warehouse",
            hint="choose a prefix without *, ? and ${",
        )
    return url.netloc, f"{path}/" if path else ""
