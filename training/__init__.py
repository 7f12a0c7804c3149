"""Models: runs, DP-SGD, privacy accounting, the budget ledger, artifacts, serving."""
