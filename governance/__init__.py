"""People and data: tenants, roles, datasets, recognition, anonymization, encryption, approvals."""
