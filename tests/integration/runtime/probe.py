"""What the tests of the runtime share: the probe service (probe_service.c), calls to it by gRPC and
by JSON, and running the cases of a file."""
import json
import os
import subprocess
import sys
import threading
import traceback

sys.path.insert(0, os.path.join(os.environ["DRAFT_SOURCE"], "tests", "lib"))
import processes as p  # pylint: disable=wrong-import-position

PATH = "examples.echo.v1.EchoService/Speak"


class Probe(p.Service):
    """The probe service on free ports."""

    def __init__(self, *flags, **options):
        super().__init__("probe", list(flags), **options)
        self.program = "probe_service"

    def json(self, text, seconds=20.0, base=None):
        """(status, answer) of a JSON call."""
        status, _, body = p.http((base or self.url("/")) + PATH,
                                 json.dumps({"input": text}).encode(),
                                 {"content-type": "application/json"}, seconds)
        return status, json.loads(body) if body else None

    def grpc(self, text, *flags, timeout="20s"):
        """(exit code, what dctl printed) of a gRPC call."""
        done = subprocess.run([f"{p.BIN}/dctl", "call", PATH, "-d", json.dumps({"input": text}),
                               "--endpoint", self.address, "--timeout", timeout, "-o", "json",
                               *flags], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def output(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()


class Later(threading.Thread):
    """A call made beside the test."""

    def __init__(self, function, *arguments):
        super().__init__(daemon=True)
        self.call, self.answer = (function, arguments), None
        self.start()

    def run(self):
        self.answer = self.call[0](*self.call[1])

    def result(self, seconds=30):
        self.join(seconds)
        assert not self.is_alive(), "a call was never answered"
        return self.answer


def expect(what, got, wanted):
    if got != wanted:
        raise p.Failed(f"{what}: {got!r} instead of {wanted!r}")


def expect_in(what, part, whole):
    if part not in whole:
        raise p.Failed(f"{what}: {part!r} is not in:\n{whole}")


def run(cases):
    """Each case is a function; those that take a parameter get a list for things to remove."""
    failed = 0
    for case in cases:
        started = []
        try:
            case(started)
            print(f"ok   {case.__name__}", flush=True)
        except Exception:  # pylint: disable=broad-except
            failed += 1
            print(f"FAIL {case.__name__}", flush=True)
            traceback.print_exc()
            for thing in started:
                print(thing.tails() if hasattr(thing, "tails") else thing.tail(40), flush=True)
        for thing in reversed(started):
            thing.remove()
    sys.exit(1 if failed else 0)


def started(thing, things):
    things.append(thing)
    return thing.start()
