"""Black-box tests over the real stack: HTTP in, HTTP out, and what databases and topics hold."""
