#!/usr/bin/env python
"""Django's command line, on the development profile unless DJANGO_SETTINGS_MODULE differs."""

import os
import sys

from django.core.management import execute_from_command_line


def main() -> None:
    """Run one management command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings.dev")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
