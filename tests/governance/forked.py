"""Run as a script by `tests.factories.processes.forked`: ingest workers that real signals kill."""

from tests.factories.killing import dying, fork_each


def ingest(argument: str) -> int:
    """`subject|moment`: do the subject's jobs and be killed at that moment."""
    subject, moment = argument.split("|")
    from governance import leases
    from governance.actions import anonymization, profiles
    from governance.ingest import merging, staging, treating
    from governance.models import SealedGroup

    owner, name, times = {
        "profiling": (staging.Stager, "add", 2),  # some rows are staged
        "profiled": (profiles, "_write_groups", 1),  # inside the transaction
        "begun": (anonymization, "begin_anonymization", 1),
        "group": (treating, "transform_chunk", 2),  # one group is done, one is half done
        "sealed": (SealedGroup.objects, "create", 2),  # inside the transaction
        "between": (anonymization, "finish_group", 3),  # every group is done
        "merging": (merging, "_sealed", 1),  # the manifest is written and belongs to nothing
        "committed": (anonymization, "finish_anonymization", 1),
    }[moment]
    setattr(owner, name, dying(getattr(owner, name), times))
    leases.run_here(subject)
    return 0


def groups(subject: str) -> int:
    """Do the subject's jobs, side by side with others who do."""
    from governance import leases

    leases.run_here(subject)
    return 0


def prepare() -> None:
    """Load the models once, before the fork, and cut small groups."""
    from governance.ingest import profiling, staging
    from governance.recognition.persons import find_prose

    find_prose(["王小明来电。", "Mary Jones called."])
    for module, name in ((staging, "GROUP_ROWS"), (profiling, "ROWS")):
        setattr(module, name, 2)


if __name__ == "__main__":
    fork_each({"ingest": ingest, "groups": groups}, prepare)
