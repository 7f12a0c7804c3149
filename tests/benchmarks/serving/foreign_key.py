"""Make the peer's tables and one of its keys; print the key."""

import django
from django.core.management import call_command


def main() -> None:
    """Print one key."""
    django.setup()
    call_command("migrate", verbosity=0)
    from rest_framework_api_key.models import APIKey

    _, key = APIKey.objects.create_key(name="bench")
    print(key)


if __name__ == "__main__":
    main()
