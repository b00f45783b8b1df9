"""Mutated callbacks against the verification of both cashier channels (`make fuzz`)."""
