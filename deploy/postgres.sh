#!/bin/sh
# Makes one database and one user per part; the image runs it once, on an empty volume.
set -eu
database() {
  psql -v ON_ERROR_STOP=1 -v name="$1" -v word="$2" -U "$POSTGRES_USER" -d postgres <<'SQL'
create role :"name" login password :'word';
create database :"name" owner :"name";
revoke connect, temporary on database :"name" from public;
SQL
}
database nessie "$NESSIE_DB_PASSWORD"
database wap "$WAP_DB_PASSWORD"
database datahub "$DATAHUB_DB_PASSWORD"
database temporal "$TEMPORAL_DB_PASSWORD"
psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d postgres <<'SQL'
create database temporal_visibility owner temporal;
revoke connect, temporary on database temporal_visibility from public;
SQL
