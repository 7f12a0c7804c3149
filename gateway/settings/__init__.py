"""Settings: `env` reads and types the environment, `base` derives from it, one module a profile.

gateway.settings.dev     a laptop: SQLite, filesystem broker, secrets made at first start
gateway.settings.test    the suite: a temporary home for each process
gateway.settings.prod    production: no default for any secret
"""
