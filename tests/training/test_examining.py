"""An examination from its request to its figures; what it charges; and where it may die."""

from collections.abc import Mapping
from typing import Any, Final

import pytest

from audit.canonical import canonical, digest
from audit.models import AuditEntry
from governance import leases
from governance.models import Job
from governance.scoping import across_tenants, tenant_scope
from tests.factories.people import House, make_house
from tests.factories.training import DECLARATIONS, approve, ask, make_version, trained
from training import ledger
from training.actions.examinations import request_examination
from training.examination import Examination
from training.models import ModelVersion


@pytest.fixture
def house(db: None, home: Any) -> House:
    return make_house()


def examined(house: House, version: ModelVersion, **asked: Any) -> Examination:
    with tenant_scope(house.id), leases.doing_it_here():
        made = request_examination(house.engineer, version, **asked)
        leases.run_here(made.reference)
        made.refresh_from_db()
    return made


def test_x(house):
    v = trained(house, make_version(house))
    import time
    t=time.process_time()
    e = examined(house, v, kinds=["loss", "engine"], epsilon="1")
    print(time.process_time()-t, e.state, e.error_code)
    import json
    print(json.dumps(e.figures, indent=1))
    assert 0
