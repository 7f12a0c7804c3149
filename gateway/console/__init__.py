"""The console: Django's admin, read-only, with buttons that call actions."""
