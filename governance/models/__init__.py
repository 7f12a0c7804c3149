"""What governance stores, one file a concept."""

from governance.models.approvals import Approval, Proposal
from governance.models.datasets import ColumnPlanVersion, Dataset, DatasetVersion, PurposeGrant
from governance.models.jobs import Job
from governance.models.keys import StoredObject, SubjectKey, TenantKey
from governance.models.people import RoleBinding, User
from governance.models.tenants import Purpose, Tenant

__all__ = [
    "Approval",
    "ColumnPlanVersion",
    "Dataset",
    "DatasetVersion",
    "Job",
    "Proposal",
    "Purpose",
    "PurposeGrant",
    "RoleBinding",
    "StoredObject",
    "SubjectKey",
    "Tenant",
    "TenantKey",
    "User",
]
