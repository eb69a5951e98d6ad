"""SIGTERM while calls are in flight: who is answered, who is refused, in which order."""
import os
import re
import signal
import time

import probe
from probe import Later, Probe, expect, expect_in, p


def in_flight(service, text, call):
    """A call that is inside its handler."""
    path = f"{service.directory}/{text.split('/')[-1]}"
    kind = text.split(":")[0]
    later = Later(call, f"{kind}:{path}")
    p.wait_for("the handler", lambda: os.path.exists(path + ".began"))
    return later, path


def release(path):
    with open(path, "w", encoding="ascii"):
        pass


def calls_in_flight_are_answered_and_new_ones_refused(things):
    service = probe.started(Probe("--service.workers=4", "--service.drain_grace=20s"), things)
    grpc, grpc_file = in_flight(service, "wait:a", service.grpc)
    json_, json_file = in_flight(service, "wait:b", service.json)
    service.server.process.send_signal(signal.SIGTERM)
    p.wait_for("503 of /readyz", lambda: p.http(service.url("/readyz"))[0] == 503, 2)
    expect("liveness while draining", p.http(service.url("/livez"))[0], 200)
    p.wait_for("refusal by HTTP", lambda: service.json("new")[0] == 503, 5)
    status, answer = service.json("new")
    expect("status of a new JSON call", (status, answer["code"]), (503, "unavailable"))
    code, text = service.grpc("new", timeout="2s")
    expect("exit code of a new gRPC call", code, 4)
    expect_in("refusal by gRPC", "shutting down", text)
    assert service.alive() and grpc.is_alive() and json_.is_alive()
    release(grpc_file)
    release(json_file)
    expect_in("answer by gRPC", "waited", grpc.result()[1])
    expect("answer by JSON", json_.result(), (200, {"output": "waited"}))
    expect("exit code", service.server.process.wait(20), 0)


def a_second_signal_ends_at_once(things):
    service = probe.started(Probe("--service.drain_grace=60s"), things)
    in_flight(service, "wait:a", service.json)
    service.server.process.send_signal(signal.SIGTERM)
    p.wait_for("503 of /readyz", lambda: p.http(service.url("/readyz"))[0] == 503, 2)
    service.server.process.send_signal(signal.SIGINT)
    expect("exit code", service.server.process.wait(2), 1)
    expect_in("log", "second signal", service.output())


def after_the_grace_time_calls_are_cancelled(things):
    service = probe.started(Probe("--service.workers=4", "--service.drain_grace=300ms"), things)
    grpc, grpc_file = in_flight(service, "wait:a", service.grpc)
    json_, json_file = in_flight(service, "wait:b", service.json)
    service.server.process.send_signal(signal.SIGTERM)
    expect("exit code", service.server.process.wait(10), 0)
    assert os.path.exists(grpc_file + ".cancelled") and os.path.exists(json_file + ".cancelled")
    assert grpc.result()[0] != 0, grpc.answer
    assert json_.result()[0] != 200, json_.answer


def a_handler_deaf_to_cancellation_does_not_keep_the_process(things):
    service = probe.started(Probe("--service.drain_grace=100ms"), things)
    in_flight(service, "deaf:a", service.json)
    service.server.process.send_signal(signal.SIGTERM)
    expect("exit code", service.server.process.wait(20), 1)
    expect_in("log", "ending without them", service.output())


def the_registry_is_left_before_calls_are_refused(things):
    cluster = p.Cluster(1)
    things.append(cluster)
    service = probe.started(Probe(f"--service.entrypoint={cluster.endpoint}",
                                  "--service.drain_grace=20s"), things)

    def listed():
        done = p.subprocess.run([f"{p.BIN}/dctl", "services", "list", "-o", "json", "--endpoint",
                                 cluster.endpoint], capture_output=True, text=True, check=False)
        return re.findall(r'"running_state": *"([a-z]+)"|"state": *"([a-z]+)"', done.stdout) \
            if '"probe"' in done.stdout else None

    p.wait_for("registration", listed)
    later, path = in_flight(service, "wait:a", service.json)
    service.server.process.send_signal(signal.SIGTERM)
    p.wait_for("refusal", lambda: service.json("new")[0] == 503, 10, every=0.002)
    output = service.output()
    assert '"left"' in output, output  # Finalize was answered before the first refusal
    release(path)
    expect("answer", later.result(), (200, {"output": "waited"}))
    expect("exit code", service.server.process.wait(20), 0)


def a_blueprint_that_is_away_does_not_hold_up_the_drain(things):
    port = p.free_ports(1)[0]
    service = probe.started(Probe(f"--service.entrypoint=127.0.0.1:{port}"), things)
    begin = time.monotonic()
    expect("exit code", service.stop(), 0)
    assert time.monotonic() - begin < 5, "the drain took too long"


probe.run([calls_in_flight_are_answered_and_new_ones_refused, a_second_signal_ends_at_once,
           after_the_grace_time_calls_are_cancelled,
           a_handler_deaf_to_cancellation_does_not_keep_the_process,
           the_registry_is_left_before_calls_are_refused,
           a_blueprint_that_is_away_does_not_hold_up_the_drain])
