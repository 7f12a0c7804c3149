"""The doors: settings, URLs, authentication, licenses, API keys, HTTP API, console."""
