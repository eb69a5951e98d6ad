#!/usr/bin/python3
"""A service built on the chassis, as its operator sees it: drain, readiness, configuration errors,
metrics, admin pages, JSON and CORS, TLS and mTLS."""
import json
import os
import signal
import socket
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import (Client, Failed, check, client, dctl, echo_pb, grpc, main,  # noqa: E402
                 processes, run, status_of, wait_for)
from processes import http  # noqa: E402

SPEAK = "examples.echo.v1.EchoService/Speak"


def speak(c, text="hello", seconds=10):
    return c.unary(SPEAK, echo_pb.SpeakRequest(input=text), echo_pb.SpeakResponse, seconds).output


def a_drain_finishes_calls_and_says_so(running):
    """What readiness says meanwhile is tested in integration/runtime, with a handler that waits."""
    cluster = running.cluster(1)
    node = cluster.nodes[0]
    c = Client(node.address)
    c.set("a", "1")
    stream = c.watch("", start=1)
    check(next(iter(stream)).events[0].key, "a watch is open")
    results = []

    def write():
        for i in range(100000):
            try:
                results.append(("ok", c.set(f"w/{i}", "x", seconds=5).meta.revision))
            except grpc.RpcError as error:
                results.append((error.code().name, error.details()))
                return
    writing = threading.Thread(target=write)
    writing.start()
    wait_for("writes", lambda: len(results) > 20)
    node.server.process.send_signal(signal.SIGTERM)
    node.server.process.wait(20)
    writing.join()
    check(node.server.process.returncode == 0, "SIGTERM: ends with 0")
    check(results[-1][0] == "UNAVAILABLE", f"the call that came too late: {results[-1]}")
    code, _ = status_of(lambda: [None for _ in stream])
    check(code in ("UNAVAILABLE", "CANCELLED", "OK"), f"the watch was ended: {code}")
    c.close()
    acknowledged = sum(1 for r in results if r[0] == "ok")
    node.start()
    with client(node.address) as c:
        found = len(c.records("w/")[0])
    check(found in (acknowledged, acknowledged + 1), f"{acknowledged} writes were acknowledged, "
          f"{found} are there")


def a_request_half_sent_is_answered(running):
    """A client that sends half a request before SIGTERM and the rest after it is never cut off; what
    a drain does to calls that handlers work on is tested in integration/runtime."""
    echo = running.service("echo")
    body = json.dumps({"input": "slow" * 100}).encode()
    head = (f"POST /{SPEAK} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n").encode()
    with socket.create_connection(("127.0.0.1", echo.ports["http"]), timeout=10) as s:
        s.sendall(head + body[:100])
        wait_for("the request to arrive", lambda: http(echo.url("/livez"))[0] == 200)
        echo.server.process.send_signal(signal.SIGTERM)
        wait_for("the drain", lambda: "drain" in echo.tail())
        s.sendall(body[100:])
        answer = b""
        while part := s.recv(65536):
            answer += part
    first = answer.split(b"\r\n")[0]
    check(b" 200 " in first and b"slowslow" in answer or b" 503 " in first and
          b"unavailable" in answer, f"the request is answered: {first!r}")
    check(echo.server.process.wait(20) == 0, "and the service ends with 0")


def configuration_mistakes_are_all_told(running):
    directory = processes.workdir("config")
    path = f"{directory}/config.yaml"
    with open(path, "w", encoding="utf-8") as f:
        f.write("service:\n  nmae: x\n  drain_grace: soon\n  network:\n    bind_port: 99999\n"
                "    bind_adress: 0.0.0.0\nraft:\n  heartbeat: 900ms\n")
    done = run([f"{processes.BIN}/echo", "--config", path, "--check-config"])
    text = done.out + done.err
    for line, word in ((2, "nmae"), (3, "drain_grace"), (5, "bind_port"), (6, "bind_adress")):
        check(f"config.yaml:{line}" in text and word in text, f"line {line}, '{word}', is told")
    check("name" in text and "bind_address" in text, "with the nearest key")
    check(done.code == 2 or done.code == 1, f"and ends with {done.code}")
    done = run([f"{processes.BIN}/echo", "--config", path])
    check(done.code != 0 and "nmae" in done.out + done.err, "it does not start with it either")
    with open(path, "w", encoding="utf-8") as f:
        f.write("service:\n  name: x\n")
    done = run([f"{processes.BIN}/echo", "--config", path, "--check-config"])
    check(done.code == 0, f"a good file: {done.code} {(done.out + done.err).strip()}")
    done = run([f"{processes.BIN}/echo", "--config", path, "--print-config"],
               env={"DRAFT_SERVICE_DOMAIN": "from-env"})
    check("from-env" in done.out and "config.yaml:2" in done.out and "DRAFT_SERVICE_DOMAIN" in
          done.out, "--print-config tells where each value came from")
    processes.rmtree(directory)
    echo = running.service("echo")
    second = processes.service("echo", directory=echo.directory, name="second",
                               ports={"rpc": echo.ports["rpc"]})
    second.spawn()
    wait_for("the second to end", lambda: not second.alive(), 10)
    check(second.server.process.returncode != 0 and str(echo.ports["rpc"]) in second.tail(),
          "a port in use is refused, naming it")


def pages_for_machines_and_operators(running):
    cluster = running.cluster(1)
    node = cluster.nodes[0]
    echo = running.echo(cluster)
    for thing in (node, echo):
        with client(thing.address) as c:
            status_of(lambda: speak(c))
        status, headers, text = http(thing.url("/metrics"))
        check(status == 200 and "text/plain" in headers["content-type"],
              f"/metrics of {thing.name}")
        done = run(["promtool", "check", "metrics"], stdin=text.decode())
        check(done.code == 0 and not (done.out + done.err).strip(),
              f"promtool has nothing to say {(done.out + done.err).strip()[:300]}")
        check(http(thing.url("/livez"))[0] == 200 and http(thing.url("/readyz"))[0] == 200,
              "/livez and /readyz are 200")
        version = json.loads(http(thing.url("/version"))[2])
        check("version" in version, f"/version: {version}")
        check(http(thing.url("/nowhere"))[0] == 404, "an unknown page is 404")
        admin = f"http://127.0.0.1:{thing.ports['admin']}"
        pages = http(admin + "/")[2].decode()
        check(http(admin + "/")[0] == 200, f"the admin index of {thing.name}")
        paths = [p for p in ("/requests", "/config") if p in pages]
        check(len(paths) == 2, f"lists its pages: {paths}")
        for path in paths:
            check(http(admin + path)[0] == 200, f"admin page {path}")
            check(http(thing.url(path))[0] == 404, f"{path} is not on the public port")
    addresses = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True,
                               check=True).stdout
    mine = [line.split()[3] for line in addresses.splitlines() if f"pid={node.server.pid}," in line]
    check(mine and all("127.0.0.1" in a for a in mine), f"listens on loopback: {mine}")
    done = run([f"{processes.BIN}/echo", "--service.network.bind_address=0.0.0.0",
                "--service.network.bind_port=0", "--service.network.http_port=0",
                f"--service.data_directory={cluster.directory}/x"], seconds=10)
    check(done.code != 0 and "plaintext" in done.out + done.err,
          "plaintext beyond loopback is refused unless configured")


def json_and_browsers(running):
    echo = running.service("echo", ["--service.network.origins=https://app.example"])
    url = echo.url(f"/{SPEAK}")
    status, headers, body = http(url, b'{"input":"gr\xc3\xbc\xc3\x9fe"}',
                                 {"content-type": "application/json"})
    check(status == 200 and "grüße" in json.loads(body)["output"], f"JSON POST: {body}")
    status, headers, _ = http(url, method="OPTIONS", headers={
        "Origin": "https://app.example", "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,connect-protocol-version"})
    allowed = headers.get("access-control-allow-headers", "").lower()
    check(status in (200, 204) and "content-type" in allowed and
          headers["access-control-allow-origin"] in ("https://app.example", "*"),
          f"preflight of a listed origin: {status}, {allowed}")
    _, headers, _ = http(url, b'{"input":"x"}', {"content-type": "application/json",
                                                 "Origin": "https://app.example"})
    check(headers["access-control-allow-origin"] == "https://app.example", "and the call itself")
    _, headers, _ = http(url, method="OPTIONS", headers={
        "Origin": "https://evil.example", "Access-Control-Request-Method": "POST"})
    check(headers.get("access-control-allow-origin") is None, "not for another origin")
    status, _, body = http(echo.url("/no.such.Service/Method"), b"{}",
                           {"content-type": "application/json"})
    check(status in (404, 501), f"an unknown method: {status} {body[:80]}")


def openssl(directory, *words):
    done = run(["openssl", *words], cwd=directory)
    if done.code != 0:
        raise Failed(f"openssl {' '.join(words)}: {done.err}")


def authority(directory):
    openssl(directory, "req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", "ca.key", "-out",
            "ca.pem", "-subj", "/CN=test authority", "-days", "2")
    for name in ("server", "operator", "stranger"):
        with open(f"{directory}/{name}.ext", "w", encoding="ascii") as f:
            f.write(f"subjectAltName=DNS:{name},DNS:localhost,IP:127.0.0.1\n")
        openssl(directory, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl(directory, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey",
                "ca.key", "-CAcreateserial", "-out", f"{name}.pem", "-days", "2", "-extfile",
                f"{name}.ext")
        os.chmod(f"{directory}/{name}.key", 0o600)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def tls_and_mtls(running):
    directory = processes.workdir("tls")
    authority(directory)

    def files(name):
        return [f"--ca={directory}/ca.pem", f"--cert={directory}/{name}.pem",
                f"--key={directory}/{name}.key"]

    def credentials(name=None):
        return grpc.ssl_channel_credentials(
            read(f"{directory}/ca.pem"), *([read(f"{directory}/{name}.key"),
                                            read(f"{directory}/{name}.pem")] if name else []))
    tls = [f"--service.network.tls.certificate={directory}/server.pem",
           f"--service.network.tls.key={directory}/server.key"]
    echo = running.add(processes.service("echo", tls)).spawn().listening()
    with client(f"localhost:{echo.ports['rpc']}", credentials=credentials()) as c:
        check("hello" in speak(c), "TLS: a call by a client that trusts the authority")
    with client(echo.address) as c:
        check(status_of(lambda: speak(c))[0] == "UNAVAILABLE", "plaintext gets no answer")
    done = run(["curl", "-sS", "--cacert", f"{directory}/ca.pem", "-d", '{"input":"x"}', "-H",
                "content-type: application/json",
                f"https://localhost:{echo.ports['http']}/{SPEAK}"])
    check(done.code == 0 and "output" in done.out, f"HTTPS by curl: {done.out} {done.err}")
    mutual = running.add(processes.service("echo", [
        *tls, f"--service.network.tls.ca={directory}/ca.pem",
        "--service.network.tls.client_required=true"], name="mutual")).spawn().listening()
    with client(f"localhost:{mutual.ports['rpc']}", credentials=credentials("stranger")) as c:
        check("hello" in speak(c), "mTLS: a call with a certificate of the authority")
    with client(f"localhost:{mutual.ports['rpc']}", credentials=credentials()) as c:
        check(status_of(lambda: speak(c))[0] == "UNAVAILABLE", "without one: refused")
    secured = running.add(processes.Cluster(1, [
        *tls, f"--service.network.tls.ca={directory}/ca.pem", "--service.env=production",
        "--service.network.operators=operator"], start=False))
    secured.nodes[0].spawn().listening()
    at = secured.nodes[0].address
    done = wait_for("an answer", lambda: (lambda d: d if d.code == 0 else None)(
        dctl(at, "kv", "set", "a", "b", f"--ca={directory}/ca.pem")))
    check(done.code == 0, "dctl --ca writes")
    backup = f"{directory}/backup"
    done = dctl(at, "cluster", "backup", backup, *files("stranger"))
    check(done.code == 1 and "operator" in done.err, f"a stranger's certificate: {done.err.strip()[:120]}")
    done = dctl(at, "cluster", "backup", backup, *files("operator"))
    check(done.code == 0, f"the operator's certificate may back up: {done.err.strip()}")
    os.chmod(f"{directory}/server.key", 0o644)
    done = run([f"{processes.BIN}/echo", *tls, "--service.network.bind_port=0",
                "--service.network.http_port=0", f"--service.data_directory={directory}/d"],
               seconds=10)
    check(done.code != 0 and "server.key" in done.out + done.err,
          "a private key that others can read is refused")
    processes.rmtree(directory)


main(a_drain_finishes_calls_and_says_so, a_request_half_sent_is_answered,
     configuration_mistakes_are_all_told, pages_for_machines_and_operators, json_and_browsers,
     tls_and_mtls)
