"""A steady load through one address: JSON over kept-alive HTTP/1.1 and gRPC, each answer checked."""
import http.client
import json
import re
import threading
import time

from e2e import Client, check, echo_pb, grpc, note, processes

SPEAK = "examples.echo.v1.EchoService/Speak"
COUNTER = re.compile(r'^draft_rpc_server_handled_total\{method="[^"]*/Speak",code="OK"\} (\d+)', re.M)


def served(echo):
    """How many calls an instance has answered."""
    found = COUNTER.search(processes.http(echo.url("/metrics"))[2].decode())
    return int(found[1]) if found else 0


def by_http(address, path=f"/{SPEAK}"):
    """A function that makes one call on a kept-alive connection: None, or what went wrong."""
    connection = http.client.HTTPConnection(address, timeout=10)

    def call(text):
        try:
            connection.request("POST", path, json.dumps({"input": text}),
                               {"content-type": "application/json"})
            answer = connection.getresponse()
            body = answer.read()
            right = answer.status == 200 and json.loads(body).get("output") == text
            return None if right else f"{answer.status} {body[:200]!r}"
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()  # the next request connects again
            return repr(error)
    return call


def by_grpc(address):
    client = Client(address)

    def call(text):
        try:
            output = client.unary(SPEAK, echo_pb.SpeakRequest(input=text),
                                  echo_pb.SpeakResponse).output
            return None if output == text else f"answered {output!r}"
        except grpc.RpcError as error:
            return f"{error.code().name} {error.details()}"
    return call


class Traffic:
    """Threads that call until `stop`; all failures are kept."""

    def __init__(self, address, ways=(by_http, by_grpc), threads=2):
        self.calls, self.failures, self.slowest = 0, [], 0.0
        self.ended = threading.Event()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(way, address, f"{way.__name__}-{i}"))
                        for way in ways for i in range(threads)]
        for thread in self.threads:
            thread.start()

    def run(self, way, address, name):
        call, i = way(address), 0
        while not self.ended.is_set():
            began = time.monotonic()
            failure = call(f"{name} {i}")
            with self.lock:
                self.calls += 1
                self.slowest = max(self.slowest, time.monotonic() - began)
                if failure:
                    self.failures.append(f"{name}: {failure}")
            i += 1

    def stop(self):
        self.ended.set()
        for thread in self.threads:
            thread.join()

    remove = stop

    def none_failed(self, text):
        self.stop()
        for failure in self.failures[:5]:
            note(failure)
        check(self.calls > 0 and not self.failures,
              f"{text}: {len(self.failures)} of {self.calls} requests failed, "
              f"the slowest took {self.slowest:.2f} s")
