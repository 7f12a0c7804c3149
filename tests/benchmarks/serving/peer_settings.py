"""Settings of a project as small as one can be: no session, no middleware, no governance."""

import os
from pathlib import Path

from gateway.settings.databases import database

DEBUG = False
SECRET_KEY = "nothing is signed with it, " * 2
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "tests.benchmarks.serving.peers"
USE_TZ = True
INSTALLED_APPS = ["rest_framework", "rest_framework_api_key"]
MIDDLEWARE: list[str] = []
DATABASES = {"default": database(os.environ["DATABASE_URL"], home=Path("/nonexistent"))}
DATABASES["default"]["CONN_HEALTH_CHECKS"] = False  # a query less a call: the peer at its best
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "UNAUTHENTICATED_USER": None,
}
