#!/bin/sh
# Makes or updates the schemas of Temporal's two databases; safe to run again.
set -eu
for name in temporal visibility; do
  database=temporal
  [ "$name" = temporal ] || database=temporal_visibility
  sql() { temporal-sql-tool --plugin postgres12 --ep postgres -p 5432 -u temporal --db "$database" "$@"; }
  # The first fails on a database that has its version table already; the second proves that it has.
  sql setup-schema -v 0.0 || true
  sql update-schema -d "/etc/temporal/schema/postgresql/v12/$name/versioned"
done
