"""Mode *callback*: how many signed notifications of channels one API verifies and settles."""
