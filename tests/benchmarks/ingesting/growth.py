"""The peak memory of a whole ingest of a small and of a large file, in fresh processes.

Run as `python -m tests.benchmarks.ingesting.growth BYTES`: a CSV of that size comes in as a stream,
is profiled, approved, treated and sealed; prints one JSON object.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any, Final

from tests.benchmarks.ingesting import sides
from tests.benchmarks.ingesting.children import ROOT


def measured(size: int) -> dict[str, Any]:
    """Peak RSS in MB and rows of an ingest of `size` bytes, in a process and home of its own."""
    with tempfile.TemporaryDirectory(prefix="portcullis-bench-") as home:
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "gateway.settings.test",
            "PORTCULLIS_TEST_HOME": home,
            "PYTHONPATH": str(ROOT),
        }
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.ingesting.growth", str(size)],
            env=environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def _pieces(size: int) -> Iterator[bytes]:
    """The file as it would come over a network: in another process, its memory is not ours."""
    reading = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(size)], stdout=subprocess.PIPE, cwd=ROOT
    )
    assert reading.stdout is not None
    with reading:
        while piece := reading.stdout.read(1 << 16):
            yield piece


_WRITER: Final = (
    "import sys; from tests.benchmarks.ingesting.table import big_csv;"
    " big_csv(int(sys.argv[1]), sys.stdout.buffer.write)"
)


def main() -> None:
    """One whole ingest in this process."""
    size = int(sys.argv[1])
    house = sides.house()
    from governance import leases
    from governance.scoping import tenant_scope
    from tests.factories import datasets

    start = time.perf_counter()
    dataset = datasets.upload(
        house, _pieces(size), name="large", declarations={}, subject_column=""
    )
    uploaded = time.perf_counter()
    leases.run_here(dataset.reference)
    profiled = time.perf_counter()
    datasets.approve_plan(house, dataset)
    leases.run_here(dataset.reference)
    done = time.perf_counter()
    with tenant_scope(house.id):
        dataset.refresh_from_db()
        if dataset.error_code:
            raise RuntimeError(f"not sealed: {dataset.error_code} {dataset.error_detail}")
        rows = dataset.versions.get().rows
    told = {
        "peak": sides.peak(),
        "rows": rows,
        "uploading": uploaded - start,
        "profiling": profiled - uploaded,
        "treating": done - profiled,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
