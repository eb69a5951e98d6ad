#!/usr/bin/env python3
"""dctl run with real processes: order of health, merged output, restarts, drain in reverse order."""
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

DCTL = os.path.join(os.environ["DRAFT_BIN"], "dctl")
DEADLINE = 30

# Answers 503 until the file named exists, then 200.
WEB = """
import http.server, os, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if os.path.exists(sys.argv[2]) else 503)
        self.end_headers()
    def log_message(self, *args):
        pass
print("web is up", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), H).serve_forever()
"""
IDLE = "trap 'echo bye; exit 0' TERM; echo up; tail -f /dev/null & wait"


class Run:
    """A dctl run whose output is collected line by line."""

    def __init__(self, folder, yaml, *arguments):
        path = os.path.join(folder, "draft.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(yaml)
        self.lines = []
        self.changed = threading.Condition()
        self.process = subprocess.Popen([DCTL, "run", "-f", path, *arguments], text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line.rstrip("\n"))
                self.changed.notify_all()

    def find(self, pattern):
        return [i for i, line in enumerate(self.lines) if re.search(pattern, line)]

    def wait(self, pattern, count=1):
        end = time.monotonic() + DEADLINE
        with self.changed:
            while len(self.find(pattern)) < count:
                left = end - time.monotonic()
                if left <= 0 or self.process.poll() is not None and not self.reader.is_alive():
                    raise AssertionError(f"never printed: {pattern}\n" + "\n".join(self.lines))
                self.changed.wait(min(left, 0.5))
            return self.find(pattern)[count - 1]

    def stop(self, number=signal.SIGINT):
        self.process.send_signal(number)
        code = self.process.wait(DEADLINE)
        self.reader.join(DEADLINE)
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def starts_in_order_of_health_and_drains_in_reverse(folder):
    port, gate = free_port(), os.path.join(folder, "gate")
    with open(os.path.join(folder, "web.py"), "w", encoding="utf-8") as f:
        f.write(WEB)
    ready = os.path.join(folder, "ready")
    with Run(folder, f"""
services:
  - name: web
    command: [{sys.executable}, web.py, "{port}", "{gate}"]
    health: http://127.0.0.1:{port}/readyz
  - name: worker
    command: [sh, -c, "{IDLE}"]
    environment: {{GREETING: hello}}
  - {{name: third, command: [sh, -c, "{IDLE}"]}}
""", "--ready-file", ready) as run:
        run.wait(r"^web +\| web is up")
        assert not run.find("worker"), "worker started before web was healthy"
        assert not os.path.exists(ready)
        with open(gate, "w", encoding="utf-8"):
            pass
        healthy = run.wait(r"web +\| -- healthy")
        assert run.wait(r"worker +\| up") > healthy
        run.wait(r"third +\| up")
        run.wait(r"^3 services are healthy")
        end = time.monotonic() + DEADLINE
        while not os.path.exists(ready):
            assert time.monotonic() < end, "no ready file"
        assert run.stop() == 0
        third, worker = run.find(r"third +\| bye")[0], run.find(r"worker +\| bye")[0]
        web = run.find(r"web +\| -- ended")[0]
        assert third < worker < web, "not stopped in reverse order"
        assert not os.path.exists(ready), "the ready file stays behind"


def a_service_that_dies_is_restarted_and_its_output_goes_on(folder):
    with Run(folder, f"""
services:
  - {{name: a, command: [sh, -c, "echo pid $$; {IDLE}"]}}
""") as run:
        line = run.lines[run.wait(r"a \| pid \d+")]
        os.kill(int(line.split()[-1]), signal.SIGKILL)
        run.wait(r"-- ended by signal 9")
        run.wait(r"-- starting it again in")
        again = run.lines[run.wait(r"a \| pid \d+", 2)]
        assert again != line
        assert run.stop(signal.SIGTERM) == 0


def restart_policies_are_kept(folder):
    with Run(folder, """
services:
  - {name: job, command: [sh, -c, "echo done"], restart: never}
  - {name: good, command: [sh, -c, "exit 0"], restart: on-failure}
  - {name: bad, command: [sh, -c, "echo no; exit 3"], restart: never, after: []}
""") as run:
        assert run.process.wait(DEADLINE) == 1, "a failed job makes the run fail"
        run.reader.join(DEADLINE)
        assert run.find(r"bad +\| -- ended with exit code 3")
        assert not run.find("starting it again")


def one_that_ignores_sigterm_is_killed_by_a_second_ctrl_c(folder):
    with Run(folder, """
services:
  - name: stubborn
    command: [sh, -c, "trap '' TERM; echo up; while :; do tail -f /dev/null; done"]
""") as run:
        run.wait(r"\| up")
        run.process.send_signal(signal.SIGINT)
        run.wait(r"-- stopping")
        assert run.stop() == 0
        assert run.find(r"ended by signal 9")


def a_program_that_is_missing_is_named(folder):
    with Run(folder, "services:\n  - {name: a, command: no-such-program}\n") as run:
        run.wait(r"cannot be started: .*no-such-program")
        assert run.stop() == 0


def only_what_was_asked_for_runs(folder):
    with Run(folder, f"""
services:
  - {{name: a, command: [sh, -c, "{IDLE}"], domain: x}}
  - {{name: b, command: [sh, -c, "{IDLE}"], domain: y}}
""", "--domains", "y") as run:
        run.wait(r"^1 service is healthy")
        assert not run.find(r"^a")
        assert run.stop() == 0


def main():
    tests = [starts_in_order_of_health_and_drains_in_reverse,
             a_service_that_dies_is_restarted_and_its_output_goes_on,
             restart_policies_are_kept, one_that_ignores_sigterm_is_killed_by_a_second_ctrl_c,
             a_program_that_is_missing_is_named, only_what_was_asked_for_runs]
    for test in tests:
        with tempfile.TemporaryDirectory(dir=os.environ.get("DRAFT_TMP")) as folder:
            print(test.__name__, flush=True)
            test(folder)


main()
