"""What governance stores, one file a concept."""

from governance.models.approvals import Approval, Proposal
from governance.models.batches import Batch, Part, RowGroup, SealedGroup
from governance.models.datasets import ColumnPlanVersion, Dataset, DatasetVersion, PurposeGrant
from governance.models.fetches import Fetch
from governance.models.jobs import Job
from governance.models.keys import StoredObject, SubjectKey, TenantKey
from governance.models.people import RoleBinding, User
from governance.models.quality import QualityContract, QualityRun
from governance.models.recognition import DetectorMeasurement, RecognitionRules
from governance.models.releases import DataRelease
from governance.models.tenants import Purpose, Tenant

__all__ = [
    "Approval",
    "Batch",
    "ColumnPlanVersion",
    "DataRelease",
    "Dataset",
    "DatasetVersion",
    "DetectorMeasurement",
    "Fetch",
    "Job",
    "Part",
    "Proposal",
    "Purpose",
    "PurposeGrant",
    "QualityContract",
    "QualityRun",
    "RecognitionRules",
    "RoleBinding",
    "RowGroup",
    "SealedGroup",
    "StoredObject",
    "SubjectKey",
    "Tenant",
    "TenantKey",
    "User",
]
