"""The development profile with the peer's application beside ours: one process checks both keys."""

from gateway.settings import dev

globals().update({name: value for name, value in vars(dev).items() if name.isupper()})
INSTALLED_APPS = [*dev.INSTALLED_APPS, "rest_framework_api_key"]
