"""Curves for TensorBoard: the points that were drawn, read back by another library's reader."""

import io
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event

from audit.models import AuditEntry
from governance.scoping import tenant_scope
from tests.factories.people import House, make_house
from tests.factories.training import ask, make_version, trained
from training.actions.curves import export_curves
from training.curves import FIGURES
from training.models import RunPoint


@pytest.fixture
def house(db: None, home: Any) -> House:
    return make_house()


def read(content: bytes) -> list[Any]:
    """The events of a file, every checksum looked at."""
    found = []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        message = content[12 : 12 + length]
        assert masked(content[:8]) == content[8:12]
        assert masked(message) == content[12 + length : 16 + length]
        found.append(Event.FromString(message))
        content = content[16 + length :]
    return found


def masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) % 2**32)


def command(*arguments: str, who: str) -> tuple[int, dict[str, Any]]:
    out, error = io.StringIO(), io.StringIO()
    try:
        call_command("curves", *arguments, "--as", who, "--json", stdout=out, stderr=error)
    except SystemExit as stopped:
        return int(stopped.code or 0), json.loads(error.getvalue().splitlines()[-1])
    return 0, json.loads(out.getvalue())


def test_the_file_holds_what_was_drawn(house: House, tmp_path: Path) -> None:
    run = trained(house, make_version(house)).run
    assert run is not None
    code, said = command(str(run.id), "--out", str(tmp_path / "new"), who="house-engineer")
    assert code == 0
    path = Path(said["file"])
    assert path.name.startswith("events.out.tfevents.")  # or TensorBoard does not look at it
    version, *events = read(path.read_bytes())
    assert version.file_version == "brain.Event:2"
    with tenant_scope(house.id):
        points = list(run.points.all())
    assert [event.step for event in events] == [point.step for point in points] == [20, 40, 45]
    for event, point in zip(events, points, strict=True):
        shown = {value.tag: value.simple_value for value in event.summary.value}
        drawn = {tag: getattr(point, figure) for figure, tag in FIGURES.items()}
        assert shown == pytest.approx(drawn, rel=1e-6)
        for error in ("loss_error", "clip_fraction_error", "gradient_norm_error"):
            assert getattr(point, error) > 0  # noised, and it says how much
    entry = AuditEntry.objects.get(event="run.curves_exported")
    assert entry.outcome == "done"


def test_points_from_before_show_what_they_have(house: House) -> None:
    run = ask(house, make_version(house))
    with tenant_scope(house.id):
        RunPoint.objects.create(
            tenant_id=house.id, run=run, attempt=1, step=20, steps=45, epsilon=0.5, loss=0.7
        )
        made = export_curves(house.auditor, run)
    _version, event = read(made.content)
    assert {value.tag for value in event.summary.value} == {"loss", "epsilon"}


@pytest.mark.parametrize(
    ("who", "exit_code", "code"),
    [
        ("house-engineer", 3, "run.no_curves"),
        ("house-platform", 3, "permission.role_missing"),
        ("other-engineer", 2, "not_found"),
    ],
)
def test_who_gets_no_file(
    house: House, tmp_path: Path, who: str, exit_code: int, code: str
) -> None:
    make_house("other")
    run = ask(house, make_version(house))
    found, error = command(str(run.id), "--out", str(tmp_path / "curves"), who=who)
    assert (found, error["code"]) == (exit_code, code)
    assert not (tmp_path / "curves").exists()


def test_a_folder_that_cannot_be_written_to(house: House, tmp_path: Path) -> None:
    run = ask(house, make_version(house))
    with tenant_scope(house.id):
        RunPoint.objects.create(
            tenant_id=house.id, run=run, attempt=1, step=20, steps=45, epsilon=0.5, loss=0.7
        )
    (tmp_path / "file").write_text("")
    code, error = command(str(run.id), "--out", str(tmp_path / "file"), who="house-engineer")
    assert (code, error["code"]) == (2, "curves.not_written")
