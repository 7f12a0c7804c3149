"""Recognition of personal data in tables and text, Chinese and English.

`profile.Profiler` proposes a plan column by column, `sweep.sweep` finds structured identifiers in
every cell, `persons.find_prose` finds people and places in prose. Nothing here touches
the database, and nothing here is imported at start-up: the models load in the worker that needs
them.
"""
