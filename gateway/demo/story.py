"""The main job from end to end: what each person does, in order, through the doors they would use.

The workers, the web server and the sequencer are real processes beside this one. The steward, the
engineer and the others act here by the same actions that the console and the API call; the
customer calls over HTTP with an API key, and the auditor's verifier is a process of its own.
"""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from django.utils import timezone

from audit.keys import log_verifier
from audit.models import AuditEntry, PendingLeaf
from gateway.actions.keys import issue_key
from gateway.actions.licenses import issue_license
from gateway.demo.adult import ADULT_DECLARATIONS, held_out
from gateway.demo.cast import PURPOSE, Cast
from gateway.demo.people import SUBJECT, TARGET, csv_pieces
from gateway.errors import DemoStoppedError
from gateway.models import Feature, License
from governance import approvals
from governance.actions.datasets import Declared
from governance.actions.evidence import grant_bundle
from governance.actions.proposals import approve_proposal
from governance.intake import Incoming, take_in
from governance.models import Dataset, DatasetVersion
from governance.models.datasets import DatasetState
from governance.permissions import ProposalKind
from governance.progress import progress_of
from governance.scoping import tenant_scope
from training.actions.models import propose_release
from training.actions.runs import request_run
from training.ledger import statement
from training.models import Budget, ModelState, ModelVersion, Run, RunPoint, RunState

CALLS: Final = 50
EPSILON: Final = "1"
PATIENCE: Final = 600.0  # seconds for one stage of a worker
POLL: Final = 0.25
UNMEANT: Final = {DatasetState.FAILED, DatasetState.REJECTED}

# Who somebody is by sex or race is compared, never learned from.
GROUPS: Final = ("sex", "race")
FEATURES: Final = tuple(
    name for name in ADULT_DECLARATIONS["columns"] if name not in {*GROUPS, TARGET}
)
DECLARED: Final[dict[str, Any]] = {
    **ADULT_DECLARATIONS,
    "columns": {
        name: {**column, "use": "group"} if name in GROUPS else column
        for name, column in ADULT_DECLARATIONS["columns"].items()
    },
    "target": {"column": TARGET, "positive": ">50K", "negative": "<=50K"},
}

# A stage reports (what is going on, done, of); `of` 0 means that nobody knows yet.
Progress = Callable[[str, int, int], None]


@dataclass
class Told:
    """What the closing table shows."""

    seconds: dict[str, float] = field(default_factory=dict)
    rows: int = 0
    entities: dict[str, dict[str, int]] = field(default_factory=dict)
    leaks: int = 0
    epsilon: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    model: str = ""
    predictions: int = 0
    receipts: int = 0
    entries: int = 0
    bundle: Path = Path()
    verified: str = ""
    tampered: str = ""

    def as_dict(self) -> dict[str, Any]:
        """What `demo --json` prints."""
        return {**vars(self), "bundle": str(self.bundle)}

    def metrics_shown(self) -> dict[str, str]:
        """AUROC, accuracy and selection rates by group, with their intervals."""
        shown = {
            name: _interval(self.metrics[name])
            for name in ("auroc", "accuracy", "selection_rate")
            if self.metrics.get(name)
        }
        for column, group in self.metrics.get("groups", {}).items():
            for value, rates in group["values"].items():
                shown[f"  selected, {column} {value}"] = _interval(rates["selection_rate"])
        return shown


@dataclass
class Story:
    """One run of the main job."""

    cast: Cast
    home: Path
    url: str
    rows: int | None = None  # of the table; None for all
    told: Told = field(default_factory=Told)
    dataset: Dataset = field(init=False)
    run: Run = field(init=False)
    version: ModelVersion = field(init=False)
    license: License = field(init=False)
    secret: str = field(init=False, repr=False)

    def stages(self) -> list[tuple[str, Callable[[Progress], None]]]:
        """The stages by name, in order."""
        return [
            ("upload and profile", self.upload),
            ("approve and anonymize", self.anonymize),
            ("train under ε", self.train),
            ("release", self.release),
            ("license and key", self.sell),
            ("predict and explain", self.predict),
            ("export and verify", self.audit),
        ]

    def play(self, name: str, stage: Callable[[Progress], None], progress: Progress) -> None:
        """Run one stage in the house's scope, and note its seconds."""
        begun = time.monotonic()
        with tenant_scope(self.cast.house.id, self.cast.customer.id):
            stage(progress)
        self.told.seconds[name] = time.monotonic() - begun

    def upload(self, progress: Progress) -> None:
        """The steward hands the table in, sealed as it streams; a worker profiles it."""
        progress("building the table", 0, 0)
        taken = set(Dataset.objects.values_list("name", flat=True))
        self.dataset = take_in(
            self.cast.actor("steward"),
            self.cast.house,
            [Incoming(csv_pieces(count=self.rows), format="csv")],
            Declared(
                name=_free_name("adult-credit", taken),
                purposes=(PURPOSE,),
                regimes=("cn", "ca"),
                subject_column=SUBJECT,
                declarations=DECLARED,
            ),
        )
        self._until(DatasetState.PROPOSED, progress)
        self.told.rows = self.dataset.rows or 0

    def anonymize(self, progress: Progress) -> None:
        """The officer approves the steward's plan; a worker carries it out and looks again."""
        proposal = approvals.latest(ProposalKind.COLUMN_PLAN, self.dataset)
        if proposal is None:
            raise DemoStoppedError("no column plan was proposed")
        approve_proposal(self.cast.actor("officer"), proposal)
        self._until(DatasetState.SEALED, progress)
        sealed = DatasetVersion.objects.filter(dataset=self.dataset).latest("number")
        self.told.entities = {
            column: found for column, found in sealed.entity_counts.items() if found
        }
        self.told.leaks = sealed.leaks

    def train(self, progress: Progress) -> None:
        """The engineer asks for ε = 1; it is reserved, spent step by step, and settled."""
        sealed = DatasetVersion.objects.filter(dataset=self.dataset).latest("number")
        self.run = request_run(
            self.cast.actor("engineer"),
            sealed,
            target=TARGET,
            purpose=PURPOSE,
            epsilon=EPSILON,
            name="credit-risk",
        )
        until = time.monotonic() + PATIENCE
        while self.run.state in {RunState.QUEUED, RunState.RUNNING}:
            _pause(until)
            self.run.refresh_from_db()
            point = RunPoint.objects.filter(run=self.run).order_by("step").last()
            if point is None:
                progress(f"run {self.run.state}", 0, 0)
            else:
                progress(f"ε spent so far {point.epsilon:.3f}", point.step, point.steps)
        if self.run.state != RunState.FINISHED:
            raise DemoStoppedError(f"the run ended {self.run.state}: {self.run.error_code}")
        self.version = ModelVersion.objects.select_related("model").get(run=self.run)
        account = statement(Budget.objects.get(dataset=self.dataset)).as_dict()
        self.told.epsilon = {key: str(value) for key, value in account.items() if "epsilon" in key}
        self.told.metrics = self.version.card.get("evaluation") or {}
        self.told.model = str(self.version)

    def release(self, progress: Progress) -> None:
        """The engineer proposes; the privacy officer and the tenant admin both agree."""
        proposal = propose_release(self.cast.actor("engineer"), self.version)
        for number, who in enumerate(("officer", "owner"), start=1):
            approve_proposal(self.cast.actor(who), proposal)
            progress(f"approved by the {who}", number, 2)
        self.version.refresh_from_db()
        if self.version.state != ModelState.RELEASED:
            raise DemoStoppedError("the model was not released")

    def sell(self, progress: Progress) -> None:
        """The platform admin licenses the model to the customer and issues a key."""
        platform = self.cast.actor("platform")
        later = timezone.now() + timedelta(days=90)
        self.license = issue_license(
            platform,
            self.version.model,
            customer=self.cast.customer,
            features=[Feature.PREDICT.value, Feature.EXPLAIN.value, Feature.FEEDBACK.value],
            purposes=[PURPOSE],
            quota=10_000,
            expires_at=later,
        )
        progress("license issued", 1, 2)
        self.secret = issue_key(platform, self.license, name="demo", mode="live").secret
        progress("key issued", 2, 2)

    def predict(self, progress: Progress) -> None:
        """The customer asks about people the model has never seen, over HTTP, with the key."""
        address = f"{self.url}/api/v1/models/{self.version.model.slug}/explain"
        for number, row in enumerate(held_out(), start=1):
            if number > CALLS:
                break
            answer = self._call(address, {"row": {name: row[name] for name in FEATURES}})
            self.told.predictions += 1
            self.told.receipts += bool(answer["receipt"]["note"])
            if not answer["explanation"]:
                raise DemoStoppedError("a prediction came without its explanation")
            progress("predictions with explanation and receipt", number, CALLS)

    def audit(self, progress: Progress) -> None:
        """The auditor takes the evidence away and verifies it where nothing of ours runs."""
        tenant = self.cast.house
        mine = AuditEntry.objects.filter(tenant=tenant.tenant_reference).values("pk")
        until = time.monotonic() + 30
        while PendingLeaf.objects.filter(entry_id__in=mine).exists():
            progress("waiting for the sequencer", 0, 0)
            _pause(until)
        folder = self.home / "bundles"
        folder.mkdir(mode=0o700, exist_ok=True)
        bundle = folder / f"{timezone.now():%Y%m%dT%H%M%S}.zip"
        written = grant_bundle(self.cast.actor("auditor"), tenant).write(bundle)
        self.told.bundle, self.told.entries = bundle, written.entries
        progress("verifying in another process", 1, 3)
        self.told.verified = _verify(bundle, expected=0)
        progress("verifying a copy with one byte changed", 2, 3)
        forged = bundle.with_suffix(".forged.zip")
        content = bytearray(bundle.read_bytes())
        content[len(content) // 2] ^= 1
        forged.write_bytes(content)
        self.told.tampered = _verify(forged, expected=1)
        forged.unlink()
        progress("done", 3, 3)

    def _until(self, state: DatasetState, progress: Progress) -> None:
        """Follow the dataset's jobs until the dataset is in `state`."""
        until = time.monotonic() + PATIENCE
        while True:
            self.dataset.refresh_from_db()
            if self.dataset.state == state:
                return
            if self.dataset.state in UNMEANT:
                raise DemoStoppedError(f"the ingest stopped: {self.dataset.error_code}")
            told = progress_of(self.dataset)
            if told is not None:
                progress(told.stage, told.done, told.of or 0)
            _pause(until)

    def _call(self, address: str, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - our own server, on loopback
            address,
            data=json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self.secret}",
                "Content-Type": "application/json",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - as above
                answer: dict[str, Any] = json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                problem = json.load(error)
            raise DemoStoppedError(
                f"a call was refused: {problem.get('code')} {problem.get('pointer', '')}"
            ) from None
        return answer


def _interval(measured: Any) -> str:
    """A figure and what it may be off by; None where the group is too small to tell."""
    if not measured:
        return "too few to tell"
    return f"{measured['value']} ({measured['low']} to {measured['high']})"


def _verify(bundle: Path, *, expected: int) -> str:
    """The verifier's verdict, from a process that imports no Django.

    Raises:
        DemoStoppedError: another exit status than the demo is there to show.
    """
    done = subprocess.run(  # noqa: S603 - our own module, our own file
        [sys.executable, "-m", "audit.verify", str(bundle), "--vkey", str(log_verifier())],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode != expected:
        raise DemoStoppedError(f"the verifier exited {done.returncode}, not {expected}")
    return (done.stdout.strip() or done.stderr.strip()).splitlines()[-1]


def _free_name(stem: str, taken: set[str]) -> str:
    if stem not in taken:
        return stem
    return next(f"{stem}-{n}" for n in range(2, len(taken) + 3) if f"{stem}-{n}" not in taken)


def _pause(until: float) -> None:
    if time.monotonic() > until:
        raise DemoStoppedError("a worker did not come to its end in time")
    time.sleep(POLL)  # a person would watch the console; the demo looks at the same rows
