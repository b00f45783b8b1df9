"""Kill anything anywhere, under load, and count: nothing lost, doubled or stuck."""
