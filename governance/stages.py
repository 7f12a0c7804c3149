"""The jobs of an ingest, in the order in which one sets off the next.

profile    a batch is parsed once, profiled, and cut into sealed row groups
anonymize  an approval, or the plan in force, is used: every row group gets a job
group      one row group is treated, looked at again, and sealed
merge      the last group done sets it off: a version is written that lists the groups
"""

from typing import Final

QUEUE: Final = "ingest"
FETCH: Final = "ingest.fetch"  # before all of them, where data come from a source
PROFILE: Final = "ingest.profile"
ANONYMIZE: Final = "ingest.anonymize"
GROUP: Final = "ingest.group"
MERGE: Final = "ingest.merge"
ALL: Final = (PROFILE, ANONYMIZE, GROUP, MERGE)

# The kinds of object that an ingest seals.
SELECTION: Final = "selection"  # what was asked of a source
QUARANTINE: Final = "quarantine"  # a file as it came
STAGED: Final = "staged"  # a row group as it came
SEALED: Final = "group"  # a row group, treated
MANIFEST: Final = "manifest"  # the list of a version's groups
