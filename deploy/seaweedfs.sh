#!/bin/sh
# SeaweedFS with one identity per role. What each may do is in the bucket's policy (lake.py); uploads
# that are signed piece by piece (pyarrow's, Spark's) are judged by the identity's own actions alone.
set -eu
config="${SEAWEEDFS_CONFIG:-/run/seaweedfs/s3.json}"
umask 077
cat > "$config" <<JSON
{"identities": [
  {"name": "admin", "actions": ["Admin", "Read", "Write", "List", "Tagging"],
   "credentials": [{"accessKey": "admin", "secretKey": "$S3_ADMIN_SECRET"}]},
  {"name": "engineer", "actions": ["Write:lake/warehouse/*"],
   "credentials": [{"accessKey": "engineer", "secretKey": "$S3_ENGINEER_SECRET"}]},
  {"name": "auditor", "actions": [],
   "credentials": [{"accessKey": "auditor", "secretKey": "$S3_AUDITOR_SECRET"}]},
  {"name": "consumer", "actions": [],
   "credentials": [{"accessKey": "consumer", "secretKey": "$S3_CONSUMER_SECRET"}]}
]}
JSON
exec weed server -s3.config="$config" -filer -s3 -s3.port.iceberg=0 -s3.port.lance=0 \
  -volume.max=0 -master.volumeSizeLimitMB=1024 "$@"
