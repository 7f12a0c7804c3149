"""A run's curves as a TensorBoard event file: what was released of it anyway, and nothing else.

One scalar a figure and point: loss, clip fraction, gradient norm, each with the deviation of its
noise, and ε. The values are those of `RunPoint`, noised inside the charged mechanism; a run whose
guarantee was waived, or whose data are public, has no noise to show.
"""

import struct
from collections.abc import Iterable
from typing import Final

from training.models import RunPoint

FIGURES: Final = {
    "loss": "loss",
    "loss_error": "noise/loss",
    "clip_fraction": "clip_fraction",
    "clip_fraction_error": "noise/clip_fraction",
    "gradient_norm": "gradient_norm",
    "gradient_norm_error": "noise/gradient_norm",
    "epsilon": "epsilon",
}


def event_file(points: Iterable[RunPoint]) -> bytes:
    """The points as TensorBoard reads them: TFRecords of `Event` messages, version first.

    A record is its length, that length's checksum, the message, and the message's checksum
    (TensorFlow, `core/lib/io/record_writer.h`).
    """
    from tensorboardX.proto.event_pb2 import Event  # noqa: PLC0415  # loads protobuf
    from tensorboardX.proto.summary_pb2 import Summary  # noqa: PLC0415  # as above

    shown = list(points)
    began = shown[0].at.timestamp() if shown else 0.0
    records = [_record(Event(wall_time=began, file_version="brain.Event:2").SerializeToString())]
    for point in shown:
        values = [
            Summary.Value(tag=tag, simple_value=getattr(point, figure))
            for figure, tag in FIGURES.items()
            if getattr(point, figure) is not None
        ]
        event = Event(
            wall_time=point.at.timestamp(), step=point.step, summary=Summary(value=values)
        )
        records.append(_record(event.SerializeToString()))
    return b"".join(records)


def file_name(run: str, attempt: int) -> str:
    """A name that TensorBoard takes for an event file."""
    return f"events.out.tfevents.{attempt:010d}.{run}"


def _record(message: bytes) -> bytes:
    length = struct.pack("<Q", len(message))
    return length + _checksum(length) + message + _checksum(message)


def _checksum(data: bytes) -> bytes:
    from tensorboardX.crc32c import crc32c  # noqa: PLC0415  # see `event_file`

    crc = crc32c(data)
    # Masked, since a checksum of something that holds checksums is weak.
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)
