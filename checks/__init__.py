"""The gate: contracts, audits and reports."""
