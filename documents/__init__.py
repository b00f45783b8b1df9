"""Documents that are written from the code, one module per kind."""
