"""Make the warehouse's bucket and give it its policy; running it again changes nothing."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import boto3

from wap.access import Role, bucket_policy

#: How SeaweedFS names an identity of its own; AWS has an account's number there.
PRINCIPAL = "arn:aws:iam::000000000000:user/{}"


def main() -> None:
    """Go by ``WAP_CATALOG__WAREHOUSE``, ``S3_ENDPOINT`` and ``S3_ADMIN_SECRET``."""
    warehouse = os.environ["WAP_CATALOG__WAREHOUSE"]
    client = boto3.client(
        "s3", endpoint_url=os.environ["S3_ENDPOINT"], region_name="us-east-1",
        aws_access_key_id="admin", aws_secret_access_key=os.environ["S3_ADMIN_SECRET"],
    )  # fmt: skip
    bucket = urlsplit(warehouse).netloc
    if bucket not in {found["Name"] for found in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=bucket)
    everybody = {role: [PRINCIPAL.format(role)] for role in Role}
    client.put_bucket_policy(Bucket=bucket, Policy=bucket_policy(warehouse, everybody))
    print(f"{warehouse} is there, with its policy")


if __name__ == "__main__":
    main()
