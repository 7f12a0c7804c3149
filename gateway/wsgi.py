"""The WSGI entry: `gunicorn gateway.wsgi`."""

import os

from django.core.wsgi import get_wsgi_application

from gateway.startup import refuse_unsafe, warm

# Production unless told otherwise: a server started by hand must not fall back to a weaker profile.
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings.prod")

application = get_wsgi_application()
refuse_unsafe()
warm()
