"""The ASGI entry, for doors that stream: `uvicorn gateway.asgi:application`."""

import os

from django.core.asgi import get_asgi_application

from gateway.bodies import Bounded
from gateway.startup import refuse_unsafe

# Production unless told otherwise: a server started by hand must not fall back to a weaker profile.
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings.prod")

application = Bounded(get_asgi_application())
refuse_unsafe()
