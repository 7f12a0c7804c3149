"""`/api/v1/receipts/{prediction}`: the promise of a call, and its redemption."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from audit.keys import receipt_certificate
from gateway import receipts
from gateway.api.doors import Door
from gateway.api.predictions import ReceiptNote
from gateway.authentication import KeyActor
from gateway.bindings import scoped_read
from gateway.models import Prediction
from governance.lookup import find
from governance.permissions import Permission


class ReceiptShown(serializers.Serializer[Any]):
    """A receipt with what is needed to check it."""

    prediction = serializers.UUIDField()
    receipt = ReceiptNote()
    certificate = serializers.CharField(help_text="The log's key vouches for the receipt key.")
    proof = serializers.CharField(
        allow_null=True, help_text="The inclusion proof (C2SP tlog-proof), once the log has it."
    )


@scoped_read(Prediction)
class Receipts(Door):
    """Receipts of the caller's own calls."""

    @extend_schema(operation_id="receipt", tags=["receipts"], responses=ReceiptShown)
    def get(self, request: Request, prediction: str) -> Response:  # noqa: ARG002  # DRF's signature
        """The receipt of one call, and its inclusion proof once there is one."""
        self.allow(Permission.LICENSE_VIEW, "prediction")
        within: dict[str, Any] = {}
        if isinstance(self.actor, KeyActor):
            within["license_id"] = self.actor.facts.license_id
        found = find(self.actor, Prediction, prediction, **within)
        return Response(
            {
                "prediction": str(found.id),
                "receipt": receipts.receipt_for(found.entry_id),
                "certificate": receipt_certificate(),
                "proof": receipts.proof_for(found.entry_id),
            }
        )
