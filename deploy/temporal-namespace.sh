#!/bin/sh
# Makes the namespace, and the search attributes by which runs are found; safe to run again.
set -eu
until temporal operator cluster health >/dev/null 2>&1; do sleep 1; done
temporal operator namespace describe -n default >/dev/null 2>&1 ||
  temporal operator namespace create -n default --retention 30d
for name in WapTable WapStatus WapGroup; do
  temporal operator search-attribute list -n default | grep -qw "$name" ||
    temporal operator search-attribute create -n default --name "$name" --type Keyword
done
