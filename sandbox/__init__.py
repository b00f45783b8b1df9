"""The outside world for development and tests: it speaks wire protocols and lies on demand."""
