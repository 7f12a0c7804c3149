"""Training in several processes: a supervisor outside, equal ranks within."""
