"""The WSGI entry: `gunicorn gateway.wsgi`."""

import os

from django.core.wsgi import get_wsgi_application

from gateway.startup import refuse_unsafe, warm

# Production unless told otherwise: a server started by hand must not fall back to a weaker profile.
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings.prod")

_django = get_wsgi_application()
refuse_unsafe()
warm()

from gateway.lane import Lane  # noqa: E402 - its models are loaded by the lines above

application = Lane(_django)
