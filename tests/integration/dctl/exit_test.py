#!/usr/bin/env python3
"""dctl gives up while TLS is being set up on another thread: it says so and ends, each time. (Under
ASan a cleanup at exit beside that thread was a crash that hung while it was being reported.)"""
import os
import socket
import subprocess
import sys
import tempfile
import threading

DCTL = os.path.join(os.environ["DRAFT_BIN"], "dctl")
RUNS, AT_ONCE = 12, 4
failures = []


def authority(folder):
    path = os.path.join(folder, "ca.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=nobody",
                    "-keyout", os.path.join(folder, "ca.key"), "-out", path], check=True,
                   capture_output=True)
    return path


def listen():
    """Takes connections and closes them at once."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(64)

    def serve():
        while True:
            server.accept()[0].close()

    threading.Thread(target=serve, daemon=True).start()
    return server.getsockname()[1]


def give_up(port, ca, first):
    for i in range(RUNS):
        timeout = ("5ms", "20ms", "50ms", "100ms")[(first + i) % 4]
        try:
            done = subprocess.run([DCTL, "cluster", "status", "--endpoint", f"localhost:{port}",
                                   "--timeout", timeout, "--ca", ca], capture_output=True,
                                  text=True, timeout=60, check=False)
            if done.returncode != 4 or "Sanitizer" in done.stderr:
                failures.append(f"timeout {timeout}: exit code {done.returncode}, {done.stderr}")
        except subprocess.TimeoutExpired:
            failures.append(f"timeout {timeout}: it did not end")


with tempfile.TemporaryDirectory() as place:
    pem, at = authority(place), listen()
    threads = [threading.Thread(target=give_up, args=(at, pem, k)) for k in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print("\n".join(failures) if failures else f"ok   {RUNS * AT_ONCE} runs ended")
sys.exit(1 if failures else 0)
