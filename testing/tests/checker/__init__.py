"""The checker, judged on fabricated worlds."""
