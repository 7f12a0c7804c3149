"""A table to a sealed version, beside Presidio's batch engine and presidio-structured.

    ours        20,000 rows x 12 columns through the jobs that anonymize: every cell swept,
                operators, every output cell swept again, sketch, Parquet, AES-GCM, database
    presidio    BatchAnalyzerEngine, batch size 256, English, its own recognizers, the weights of
                en_core_web_md; on evenly spaced rows of the same table. It only finds.
    structured  presidio-structured 0.0.10: columns by 150 rows, then every row replaced; beside it
                our profile counts as well

Each side is a process of its own, pinned to one processor (two for the workers); A B A B, warm-up,
medians of pairwise ratios. Our profile scans a fixed number of values whatever the table's size,
so it is printed and, but for `structured`, not counted. Recall is of the planted values: ours by
what the sealed rows still show, Presidio's by its spans at any score; the keys are the lowest over
entities.

    --quick            fewer rows and pairs, and no JSON line: for development
    --rss-small        100 MB beside 10 MB in the place of 1 GB beside 100 MB; says so
    --only PART        typed, prose, workers, structured or growth; without the JSON line
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.ingesting import growth, recall
from tests.benchmarks.ingesting.children import Child
from tests.benchmarks.ingesting.table import ROWS, Table, make

PAIRS: Final = 5
SAMPLE: Final = 400  # rows for Presidio: some ten seconds of it
LARGE: Final = 1_000_000_000  # bytes
PARTS: Final = ("typed", "prose", "workers", "structured", "growth")


class Bench:
    """One run: what is measured, printed as it comes, and kept for the JSON line."""

    def __init__(self, rows: int, sample: int, pairs: int) -> None:
        self.rows, self.sample, self.pairs = rows, sample, pairs
        self.keys: dict[str, float | None] = {}
        self.gaps: dict[tuple[str, str], float] = {}
        self._home = Path(tempfile.mkdtemp(prefix="portcullis-bench-"))
        self._homes = 0

    def child(
        self, side: str, variant: str, *, pin: int | None = 0, home: Path | None = None
    ) -> Child:
        """A side, in a home of its own unless it works in another's."""
        if home is None:
            self._homes += 1
            home = self._home / str(self._homes)
        self.last_home = home
        return Child(side, variant, rows=self.rows, sample=self.sample, home=home, pin=pin)

    def one_process(self, variant: str, key: str) -> None:
        """Ours and Presidio in turn on one processor; recall of both on the same rows."""
        table = make(prose=variant == "prose", rows=self.rows)
        print(f"\n{variant}: {table.shares()}", flush=True)
        with self.child("presidio", variant) as theirs, self.child("ours", variant) as ours:
            ours.ask("warm"), theirs.ask("run")
            profiles, pairs = [], []
            for number in range(self.pairs):
                profiles.append(ours.ask("prepare")["seconds"])
                mine, its = ours.ask("run"), theirs.ask("run")
                pairs.append((_speed(mine), _speed(its), mine, its))
                print(
                    f"  pair {number + 1}: {_speed(mine):,.0f} / {_speed(its):,.0f} cells/s",
                    flush=True,
                )
            ratio = statistics.median(a / b for a, b, _, _ in pairs)
            self.keys[key] = ratio
            profile = statistics.median(profiles)
            _line("ours", [p[2] for p in pairs])
            _line("presidio batch", [p[3] for p in pairs])
            whole = statistics.median(
                p[2]["cells"] / (p[2]["seconds"] + profile) / p[1] for p in pairs
            )
            busy = statistics.median(_work(p[2]) / _work(p[3]) for p in pairs)
            print(f"  ratio {ratio:.1f}, by processor time {busy:.1f}; upload, profile and approval"
                  f" {profile:.1f} s a dataset, with them {whole:.1f}")  # fmt: skip
            self._recall(table, variant, ours, theirs)

    def _recall(self, table: Table, variant: str, ours: Child, theirs: Child) -> None:
        sample = table.sample(self.sample)
        mine, its = _flags(ours.ask("hidden")), _flags(theirs.ask("hidden"))
        on_sample = recall.on_sample(table, mine, sample)
        all_, few, peer = (
            recall.rates(table, mine), recall.rates(sample, on_sample), recall.rates(sample, its)
        )  # fmt: skip
        lost = recall.lost(sample, on_sample, its)
        print(f"  {'planted':18}{'in':12}{'ours':>8}{'of':>8} | same rows {'ours':>7}"
              f"{'presidio':>10}{'of':>6} | {'lost to it':>10}")  # fmt: skip
        for key, (hidden, of) in all_.items():
            a, b, count = _share(few.get(key)), _share(peer.get(key)), few.get(key, (0, 0))[1]
            print(f"  {key[0]:18}{key[1]:12}{hidden / of:8.4f}{of:8,} |           {a:7.4f}"
                  f"{b:10.4f}{count:6} | {lost.get(key, (0, 0))[0]:10}")  # fmt: skip
            if count:
                self.gaps[variant + key[0], key[1]] = a - b
        for kind in ("structured", "prose"):
            of_kind = [hidden / of for (_, where), (hidden, of) in all_.items() if where == kind]
            if of_kind:
                name = f"recall_{kind}"
                self.keys[name] = min([*of_kind, self.keys.get(name) or 1.0])
        self.keys["recall_gap_min"] = min(self.gaps.values())

    def workers(self) -> None:
        """Two worker processes on two processors beside Presidio in one process, not pinned."""
        print("\nworkers: the prose table by two worker processes", flush=True)
        variant = "prose"
        with (
            self.child("presidio", variant, pin=None) as theirs,
            self.child("ours", variant, pin=None) as ours,
        ):
            home = self.last_home
            with (
                self.child("worker", variant, pin=0, home=home) as first,
                self.child("worker", variant, pin=1, home=home) as second,
            ):
                for worker in (first, second):
                    worker.ask("work", ours.ask("few")["said"])
                theirs.ask("run")
                pairs = []
                for number in range(self.pairs):
                    mine, its = self._at_once(ours, first, second), _speed(theirs.ask("run"))
                    pairs.append((mine, its))
                    print(f"  pair {number + 1}: {mine:,.0f} / {its:,.0f} cells/s", flush=True)
                peaks = [child.ask("peak")["said"] for child in (first, second)]
        ratio = statistics.median(a / b for a, b in pairs)
        self.keys["prose_ratio_workers"] = ratio
        print(
            f"  ratio {ratio:.1f}; peak RSS of the workers {peaks[0]:,.0f} and {peaks[1]:,.0f} MB"
        )

    def _at_once(self, ours: Child, first: Child, second: Child) -> float:
        """Cells a second of two workers on one dataset."""
        reference = ours.ask("prepare")["said"]
        start = time.perf_counter()
        for child in (first, second):
            child.send("work", reference)
        cells, _ = (child.answer()["cells"] for child in (first, second))
        seconds = time.perf_counter() - start
        ours.ask("taken")
        return float(cells / seconds)

    def structured(self) -> None:
        """presidio-structured on all of the typed table; its analysis and our profile counted."""
        print("\nstructured: the typed table, profile and analysis counted", flush=True)
        try:
            with (
                self.child("structured", "typed") as theirs,
                self.child("ours", "typed") as ours,
            ):
                ours.ask("warm"), theirs.ask("run")
                pairs = []
                for number in range(self.pairs):
                    profile = ours.ask("prepare")["seconds"]
                    mine, its = ours.ask("run"), theirs.ask("run")
                    a, b = mine["cells"] / (mine["seconds"] + profile), _speed(its)
                    pairs.append((a, b))
                    print(f"  pair {number + 1}: {a:,.0f} / {b:,.0f} cells/s", flush=True)
                table = make(prose=False, rows=self.rows)
                found = recall.rates(table, _flags(theirs.ask("hidden")))
                replaced = theirs.ask("mapped")["said"]
        except RuntimeError as error:
            self.keys["structured_ratio"] = None
            print(f"  null: presidio-structured did not run here ({error})")
            return
        self.keys["structured_ratio"] = statistics.median(a / b for a, b in pairs)
        print(f"  ratio {self.keys['structured_ratio']:.1f}; its recall "
              + ", ".join(f"{key[0]} {a / b:.2f}" for key, (a, b) in found.items()))  # fmt: skip
        print(f"  columns that it replaced, whatever stands in them: {replaced}")

    def growth(self, large: int) -> None:
        """Peak RSS of a whole ingest, a tenth of the size and the size."""
        print(
            f"\ngrowth: CSV of {large // 10 / 1e6:,.0f} MB and of {large / 1e6:,.0f} MB", flush=True
        )
        peaks = []
        for size in (large // 10, large):
            told = growth.measured(size)
            peaks.append(told["peak"])
            print(f"  {size / 1e6:,.0f} MB, {told['rows']:,} rows: peak {told['peak']:,.0f} MB;"
                  f" upload {told['uploading']:.0f} s, profile {told['profiling']:.0f} s,"
                  f" treat and seal {told['treating']:.0f} s", flush=True)  # fmt: skip
        self.keys["rss_growth"] = peaks[1] / peaks[0]
        print(f"  ratio {self.keys['rss_growth']:.3f}")


def _speed(answer: dict[str, Any]) -> float:
    return float(answer["cells"] / answer["seconds"])


def _work(answer: dict[str, Any]) -> float:
    return float(answer["cells"] / answer["busy"])


def _line(name: str, answers: list[dict[str, Any]]) -> None:
    cells = statistics.median(_speed(a) for a in answers)
    megabytes = statistics.median(a["bytes"] / a["seconds"] / 1e6 for a in answers)
    busy = statistics.median(a["busy"] / a["seconds"] for a in answers)
    peak = max(a["peak"] for a in answers)
    print(f"  {name:16}{cells:12,.0f} cells/s{megabytes:9.2f} MB/s{peak:9,.0f} MB peak RSS"
          f"   {100 * busy:.0f} % of one processor")  # fmt: skip


def _flags(answer: dict[str, Any]) -> list[bool]:
    return [flag == "1" for flag in answer["hidden"]]


def _share(pair: tuple[int, int] | None) -> float:
    return float("nan") if pair is None else pair[0] / pair[1]


def main() -> None:
    """Print the tables, and the JSON object as the last line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rss-small", action="store_true")
    parser.add_argument("--only", choices=PARTS, action="append")
    options = parser.parse_args()
    started = time.perf_counter()
    bench = Bench(3000, 60, 2) if options.quick else Bench(ROWS, SAMPLE, PAIRS)
    large = LARGE // 100 if options.quick else LARGE // 10 if options.rss_small else LARGE
    parts: dict[str, Callable[[], None]] = {
        "typed": lambda: bench.one_process("typed", "typed_ratio"),
        "prose": lambda: bench.one_process("prose", "prose_ratio"),
        "workers": bench.workers,
        "structured": bench.structured,
        "growth": lambda: bench.growth(large),
    }
    for name in options.only or PARTS:
        parts[name]()
    print(f"\n{(time.perf_counter() - started) / 60:.1f} minutes", flush=True)
    whole = {
        name: None if bench.keys.get(name) is None else round(float(bench.keys[name] or 0), 4)
        for name in (
            "typed_ratio", "prose_ratio", "prose_ratio_workers", "structured_ratio",
            "recall_structured", "recall_prose", "recall_gap_min", "rss_growth",
        )
    }  # fmt: skip
    if options.quick or options.only:
        print(f"not the real run, so not its JSON line: {whole}")
        return
    if options.rss_small:
        whole["rss_growth"] = None
        print("rss_growth is null: 1 GB was not ingested")
    print(json.dumps(whole))


if __name__ == "__main__":
    main()
