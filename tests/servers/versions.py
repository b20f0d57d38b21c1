"""The versions of the servers we test against; ``docker-compose.yml`` starts the same ones."""

POSTGRES = "15"
NESSIE = "0.99.0"
ICEBERG = "1.12.0"
SPARK = "4.1.4"
SEAWEEDFS = "4.48"
