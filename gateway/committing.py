"""Answers of one process, scored and committed together by whichever thread comes first.

    1. rows of the same model that wait at the same moment are one matrix product
    2. their charges, answers and entries are one transaction (`serve_predictions`)
    3. where that is refused or fails, each is done alone, so that its own entry says why

A call whose standing was remembered and is refused in 2 is given back as `StaleError`, unrecorded:
its thread reads the standing afresh and comes again.
"""

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from django.db import DatabaseError, connection

from audit.errors import DomainError
from audit.recording import request_id
from gateway import serving
from gateway.actions.predictions import (
    Answered,
    Served,
    Serving,
    serve_prediction,
    serve_predictions,
)
from gateway.authentication import KeyActor
from gateway.coalescing import Coalescer
from gateway.errors import InFlightError
from gateway.models import License, Prediction
from gateway.shedding import CALLS
from governance.scoping import tenant_scope
from training.serving import LoadedModel

_log: Final = logging.getLogger(__name__)


class StaleError(Exception):
    """What was remembered of the license, the key or the release may not hold any more."""


class AnsweredError(Exception):
    """Another process answered the same call meanwhile; nothing was charged or recorded here."""

    def __init__(self, earlier: Prediction) -> None:
        super().__init__()
        self.earlier = earlier


class UnscoredError(Exception):
    """The model could not answer; the cause says why. Nothing was charged or recorded."""

    def __init__(self, cause: Exception) -> None:
        super().__init__()
        self.cause = cause


@dataclass(frozen=True)
class Pending:
    """A call that is admitted, and waits for its score and its commit.

    Attributes:
        actor, license: who calls, under what.
        model: what answers.
        row: of `LoadedModel.check_row`.
        answered: the answer; without a score until the model was asked.
        scored: whether it has one.
        fresh: whether it was admitted by rows that were read for it.
    """

    actor: KeyActor
    license: License
    model: LoadedModel
    row: dict[str, str | None]
    answered: Answered
    scored: bool
    fresh: bool

    @property
    def serving(self) -> Serving:
        """As the action takes it."""
        return Serving(self.actor, self.license, self.answered, self.answered.request_id)


def _work(calls: Sequence[Pending]) -> list[Served | BaseException]:
    results: dict[int, Served | BaseException] = {}
    scored: dict[int, Pending] = {}
    for place, outcome in _scored(calls).items():  # 1
        if isinstance(outcome, Pending):
            scored[place] = outcome
        else:
            results[place] = outcome
    if scored:
        results |= zip(scored, _committed(list(scored.values())), strict=True)
    return [results[place] for place in range(len(calls))]


def _scored(calls: Sequence[Pending]) -> dict[int, Pending | UnscoredError]:
    """Each call with its score, by its place."""
    found: dict[int, Pending | UnscoredError] = {
        place: call for place, call in enumerate(calls) if call.scored
    }
    by_model: dict[str, list[int]] = {}
    for place, call in enumerate(calls):
        if not call.scored:
            by_model.setdefault(call.model.digest, []).append(place)
    for places in by_model.values():
        try:
            scores = serving.scores(calls[places[0]].model, [calls[place].row for place in places])
        except Exception as error:  # noqa: BLE001 - of whatever kind, it is each caller's to tell
            found |= dict.fromkeys(places, UnscoredError(error))
            continue
        for place, (score, label) in zip(places, scores, strict=True):
            answered = replace(calls[place].answered, score=score, label=label)
            found[place] = replace(calls[place], answered=answered, scored=True)
    return found


def _committed(calls: Sequence[Pending]) -> Sequence[Served | BaseException]:
    if len(calls) == 1 and calls[0].fresh:
        return [_found(calls[0]) or _alone(calls[0])]
    try:
        return serve_predictions([call.serving for call in calls])  # 2
    except InFlightError:
        return [_found(call) or _alone(call) for call in calls]  # 3
    except DomainError:
        return [_alone(call) if call.fresh else StaleError() for call in calls]
    except DatabaseError as error:
        _log.warning("%d calls are committed one by one: %s", len(calls), type(error).__name__)
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
        return [_found(call) or _alone(call) for call in calls]


def _found(call: Pending) -> Served | AnsweredError | None:
    """What stands under the call's request id already.

    Its own answer, where the connection broke between the commit and its confirmation; or that of
    another process, to the same call sent twice.
    """
    with contextlib.suppress(DatabaseError), tenant_scope(call.actor.tenant_id):
        stored = Prediction.objects.filter(
            tenant_id=call.actor.tenant_id, request_id=call.answered.request_id
        ).first()
        if stored is not None and stored.pk == call.answered.id:
            return Served(stored.answer, stored.entry_id)
        return None if stored is None else AnsweredError(stored)
    return None


def _alone(call: Pending) -> Served | BaseException:
    token = request_id.set(call.answered.request_id)
    try:
        with tenant_scope(call.actor.tenant_id):
            return serve_prediction(call.actor, call.license, call.answered)
    except Exception as error:  # noqa: BLE001 - recorded by the action; raised in its own thread
        return error
    finally:
        request_id.reset(token)


COMMITS: Final[Coalescer[Pending, Served]] = Coalescer(_work, line=CALLS)
