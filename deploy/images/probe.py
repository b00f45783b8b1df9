"""The health check of an image: exit code 0 when the process in it is ready."""

import http.client
import os
import sys

# Every service process tells its health where it serves its metrics; the others where they listen.
PORTS = ("SONGHE_METRICS_PORT", "SONGHE_SANDBOX_HTTP_PORT", "SONGHE_ENTRY_HTTP_PORT")
SECONDS = 2.0


def main() -> int:
    port = next((os.environ[name] for name in PORTS if name in os.environ), None)
    if port is None:
        sys.stderr.write(f"none of {', '.join(PORTS)} is set\n")
        return 1
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=SECONDS)
    try:
        connection.request("GET", "/health/ready")
        answer = connection.getresponse()
        sys.stdout.write(answer.read(500).decode(errors="replace"))
        return 0 if answer.status == 200 else 1
    except OSError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
