"""`prove_gpu`: trains on this machine's GPU and on its CPU, compares, and prints one verdict."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

DIFFERS = 4  # exit code: it is our fault
NONE = 3  # there is no GPU to prove


class Command(BaseCommand):
    """For whoever has a card: reads no data and writes nothing."""

    help = "Train on the GPU and on the CPU, compare, and print one verdict"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the device."""
        parser.add_argument("--device", default="cuda", help="as torch names it")

    def handle(self, **options: Any) -> None:
        """Print one JSON object a network, then the verdict."""
        import torch  # noqa: PLC0415  # seconds

        from training.proving import prove  # noqa: PLC0415  # as above

        try:
            device = torch.device(options["device"])
            torch.zeros(1, device=device)
        except (RuntimeError, AssertionError) as error:
            raise CommandError("there is no such device here", returncode=NONE) from error
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        proofs = prove(device)
        for proof in proofs:
            self.stdout.write(json.dumps(proof.as_dict()))
        if not all(proof.holds for proof in proofs):
            raise CommandError(f"{device}: NOT PROVED, do not train on it", returncode=DIFFERS)
        self.stdout.write(f"{device}: PROVED, it trains what the CPU trains")
