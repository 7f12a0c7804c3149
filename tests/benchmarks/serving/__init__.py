"""What the bench of the gateway starts: a house with a model, its peers, and the load."""
