"""Other SDKs, unmodified, as judges of the simulator: each in its own process and its own environment."""
