"""The stack without Docker: real servers, the services, one entry port."""
