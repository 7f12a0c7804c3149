"""In torchrun's place: `ranks.py FOLDER SIZE` imports torch once and forks each rank.

Before it does what a rank does, each takes part in trainings without a supervisor, over gloo, and
leaves in FOLDER what came out of them.
"""

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.distributed as dist

from tests.factories.ranks import ROWS, SCENARIOS, job_of
from training import clipping
from training.distributed import rank
from training.distributed.group import Connected, held
from training.dpsgd import train
from training.inputs import network_of


def take_part(name: str, group: Connected) -> tuple[dict[str, torch.Tensor], list[int]]:
    """One training; the weights, and how many records each of this rank's steps had."""
    whole = job_of(**SCENARIOS[name])
    mine = held(ROWS, group.rank, group.size)
    sizes: list[int] = []
    summed = clipping.ClosedForm.sum

    def counting(self: Any, features: torch.Tensor, *rest: Any) -> Any:
        sizes.append(len(features))
        return summed(self, features, *rest)

    setattr(clipping.ClosedForm, "sum", counting)  # noqa: B010  # a type checker would object
    try:
        trained = train(
            network_of(whole.config, whole.spec),
            whole.features[mine.start :: mine.step],
            whole.labels[mine.start :: mine.step],
            plan=whole.plan,
            config=whole.config,
            secret=whole.secret,
            on_block=lambda _: None,
            units=whole.units,
            group=group,
        )
    finally:
        setattr(clipping.ClosedForm, "sum", summed)  # noqa: B010  # as above
    group.check_same(trained.state)
    return trained.state, sizes


def differ(group: Connected) -> str:
    """What is said of weights that are not the same."""
    try:
        group.check_same({"weight": torch.full((2,), float(group.rank))})
    except Exception as error:  # noqa: BLE001 - its code is looked at
        return getattr(error, "stable_code", repr(error))
    return "nothing"


def main(folder: Path, number: int, size: int) -> int:
    """What one rank does."""
    without_django = "django" not in sys.modules
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=number, world_size=size
    )
    group = Connected(torch.device("cpu"))
    found: dict[str, Any] = {"without_django": without_django, "sizes": {}}
    for name in SCENARIOS:
        state, found["sizes"][name] = take_part(name, group)
        safetensors.torch.save_file(state, folder / f"{name}-{number}")
    found["differ"] = differ(group)
    found["told"] = [group.told(number == 0), group.told(number == 1)]
    dist.destroy_process_group()
    (folder / f"{number}.json").write_text(json.dumps(found))
    return rank.main()


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)  # what it loads, once
    free = socket.create_server(("127.0.0.1", 0))
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free.getsockname()[1]),
        "WORLD_SIZE": sys.argv[2],
    }
    free.close()
    children = []
    for place in range(int(sys.argv[2])):
        child = os.fork()
        if child == 0:
            os.environ |= {"RANK": str(place), "LOCAL_RANK": str(place)}
            os._exit(main(Path(sys.argv[1]), place, int(sys.argv[2])))
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    sys.exit(max(abs(code) for code in codes))
