"""Evidence: recording, the Merkle log, explanations, reports, the verifier."""
