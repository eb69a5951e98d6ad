#!/usr/bin/python3
"""Requests from outside through a real HAProxy that Fuse keeps in step, while what serves them is
replaced: instances restarted one by one without a failed request, one killed, weights, a Fuse gone.

Rounds of restarts: 2, with DRAFT_ALL=1 10, or DRAFT_E2E_ROUNDS."""
import http.client
import json
import os
import shutil
import signal
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import ALL, Client, check, echo_pb, grpc, main, note, processes, run, wait_for  # noqa: E402
from traffic import served  # noqa: E402

ROUNDS = int(os.environ.get("DRAFT_E2E_ROUNDS", "10" if ALL else "2"))
SPEAK = "examples.echo.v1.EchoService/Speak"
PAUSE = 0.004  # of a client between two requests


class Load(threading.Thread):
    """One client that asks again and again, over one connection as long as it lasts."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.sent, self.failures = port, 0, []
        self.stopping = threading.Event()

    def run(self):
        self.open()
        while not self.stopping.is_set():
            self.sent += 1
            text = f"{self.name} {self.sent}"
            try:
                answer = self.ask(text)
                if answer != text:
                    self.failures.append(f"request {self.sent}: {answer!r}")
            except Exception as error:  # pylint: disable=broad-except
                self.failures.append(f"request {self.sent}: {error!r}"[:400])
                self.close()
                self.open()
            self.stopping.wait(PAUSE)
        self.close()


class HttpLoad(Load):
    """JSON over HTTP/1.1; the connection to the entry port is kept alive."""

    def open(self):
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def close(self):
        self.connection.close()

    def ask(self, text):
        self.connection.request("POST", f"/{SPEAK}", json.dumps({"input": text}),
                                {"content-type": "application/json"})
        answer = self.connection.getresponse()
        body = answer.read()
        return json.loads(body)["output"] if answer.status == 200 else (answer.status, body)


class GrpcLoad(Load):
    """gRPC over one HTTP/2 connection, without retries of its own."""

    def open(self):
        self.client = Client(f"127.0.0.1:{self.port}", options=[("grpc.enable_retries", 0)])

    def close(self):
        self.client.close()

    def ask(self, text):
        return self.client.unary(SPEAK, echo_pb.SpeakRequest(input=text), echo_pb.SpeakResponse,
                                 20.0).output


class Loads:
    """Clients of both kinds under steady load."""

    def __init__(self, port, each=3, kinds=(HttpLoad, GrpcLoad)):
        self.all = [kind(port) for kind in kinds for _ in range(each)]
        for load in self.all:
            load.start()

    def sent(self):
        return [load.sent for load in self.all]

    def failures(self):
        return [f"{type(load).__name__}: {f}" for load in self.all for f in list(load.failures)]

    def wait_more(self, n=50):
        """Until every client had n more answers."""
        before = self.sent()
        wait_for("the load", lambda: all(
            now >= then + n for now, then in zip(self.sent(), before)), 60)

    def remove(self):
        for load in self.all:
            load.stopping.set()
        for load in self.all:
            load.join(30)


class Home:
    """The directory of an HAProxy, which outlives a Fuse that is killed, but not the test."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="fuse-")  # sockets want a short path

    def remove(self):
        try:
            with open(f"{self.path}/haproxy.pid", encoding="ascii") as f:
                pid = int(f.read().split()[0])
            with open(f"/proc/{pid}/cmdline", encoding="ascii") as f:
                if self.path in f.read():
                    os.kill(pid, signal.SIGKILL)
        except (OSError, ValueError, IndexError):
            pass
        shutil.rmtree(self.path, ignore_errors=True)


class Edge:
    """Blueprint, Fuse and its HAProxy, with instances of echo behind them."""

    def __init__(self, running, instances=3, nodes=1):
        self.running = running
        self.cluster = running.cluster(nodes)
        self.port = processes.free_port()
        self.home = running.add(Home())
        entry = ",".join(f"http://{a}" for a in self.cluster.addresses)
        self.fuse = running.service("fuse", [
            f"--service.entrypoint={entry}", f"--fuse.listener.port={self.port}",
            "--fuse.haproxy.enabled", "--fuse.haproxy.stop",
            f"--fuse.haproxy.directory={self.home.path}", "--service.report_interval=500ms"])
        self.echoes = [self.echo(f"echo-{i}") for i in range(instances)]
        wait_for("all instances behind the entry port", self.served)

    def echo(self, name, *flags):
        return self.running.echo(self.cluster, list(flags), name=name)

    def dctl(self, *words):
        return run([f"{processes.BIN}/dctl", *words], env={"DRAFT_ENDPOINT": self.cluster.endpoint})

    def by_http(self):
        return processes.http(f"http://127.0.0.1:{self.port}/{SPEAK}", b'{"input":"x"}',
                              {"content-type": "application/json"})[0] == 200

    def by_grpc(self):
        client = Client(f"127.0.0.1:{self.port}")
        try:
            client.unary(SPEAK, echo_pb.SpeakRequest(input="x"), echo_pb.SpeakResponse, 5.0)
            return True
        except grpc.RpcError:
            return False
        finally:
            client.close()

    def served(self):
        """Every instance gets requests of both kinds."""
        for ask in (self.by_http, self.by_grpc):
            before = [served(e) for e in self.echoes]
            if not all(ask() for _ in range(4 * len(self.echoes))):
                return False
            if not all(served(e) > n for e, n in zip(self.echoes, before)):
                return False
        return True


def restart_all(loads, echoes):
    """One instance after the other, under load: no request fails."""
    loads.wait_more()
    for number in range(ROUNDS):
        for echo in echoes:
            echo.server.process.send_signal(signal.SIGTERM)
            check(echo.server.process.wait(20) == 0, f"round {number + 1}: {echo.name} ended")
            loads.wait_more(20)
            echo.start()
            wait_for(f"requests at {echo.name}", lambda e=echo: served(e) > 0)
            loads.wait_more(20)
    loads.remove()
    failures = loads.failures()
    check(not failures, f"{sum(loads.sent())} requests, {len(failures)} failed"
          + "".join(f"\n         {f}" for f in failures[:10]))


def instances_restart_one_by_one_and_no_request_fails(running):
    edge = Edge(running)
    restart_all(running.add(Loads(edge.port)), edge.echoes)


def an_instance_that_is_killed_is_left_out(running):
    edge = Edge(running)
    loads = running.add(Loads(edge.port))
    loads.wait_more()
    edge.echoes[0].kill()
    loads.wait_more(100)
    at_kill = len(loads.failures())
    check(at_kill <= len(loads.all), f"{at_kill} requests failed that it had in its hands "
          f"({len(loads.all)} clients)")
    loads.wait_more(100)
    check(len(loads.failures()) == at_kill, "none after that")
    edge.echoes[0].start()
    wait_for("requests at the new one", lambda: served(edge.echoes[0]) > 0)
    loads.remove()
    check(len(loads.failures()) == at_kill, "its place is taken again without a failure")


def weights_share_the_requests(running):
    edge = Edge(running, 1)
    edge.echoes.append(edge.echo("next", "--service.name=echo-next"))
    done = edge.dctl("routes", "add", "split", "--prefix", f"/{SPEAK}", "--priority", "10",
                     "--service", "echo=90", "--service", "echo-next=10")
    check(done.code == 0, "a route splits 90 to 10")
    wait_for("requests at echo-next", lambda: edge.by_http() and served(edge.echoes[1]) > 0)
    before = [served(e) for e in edge.echoes]
    client = HttpLoad(edge.port)
    client.open()
    for n in range(1000):
        check_quietly(client.ask(str(n)) == str(n))
    client.close()
    first, second = (served(e) - b for e, b in zip(edge.echoes, before))
    check(first + second == 1000 and 60 <= second <= 140, f"of 1,000 requests: {first} to {second}")


def check_quietly(condition):
    if not condition:
        check(False, "a request failed")


def requests_go_on_without_fuse(running):
    edge = Edge(running, 2)
    loads = running.add(Loads(edge.port, 1))
    loads.wait_more()
    edge.fuse.kill()
    loads.wait_more()
    check(not loads.failures(), "Fuse is killed: requests go on")
    edge.fuse.start()
    third = edge.echo("echo-late")
    wait_for("requests at the third instance", lambda: served(third) > 0)
    check(True, "the next Fuse takes HAProxy over: a new instance gets requests")
    loads.remove()
    check(not loads.failures(), f"{sum(loads.sent())} requests, none failed")
    listed = edge.dctl("proxies", "list", "-o", "json").json()
    check(len(listed) == 1 and listed[0]["kind"] == "haproxy", "dctl proxies list shows it")


def requests_go_on_without_blueprints_leader(running):
    edge = Edge(running, 2, 3)
    loads = running.add(Loads(edge.port, 1))
    loads.wait_more()
    leader = wait_for("a leader", edge.cluster.leader)
    leader.kill()
    loads.wait_more()
    check(not loads.failures(), f"{leader.name}, the leader, is killed: requests go on")
    edge.echoes[0].stop()
    late = edge.echo("echo-late")
    wait_for("requests at a new instance", lambda: served(late) > 0)
    leader.start()
    loads.wait_more()
    loads.remove()
    check(not loads.failures(), f"one instance ended, one came: {sum(loads.sent())} requests, none "
          "failed" + "".join(f"\n         {f}" for f in loads.failures()[:10]))


class XdsLoad(Load):
    """A proxyless gRPC client: it has the instances from Fuse itself."""

    def open(self):
        self.channel = grpc.insecure_channel("xds:///echo", [("grpc.enable_retries", 0)])
        self.call = self.channel.unary_unary(f"/{SPEAK}", echo_pb.SpeakRequest.SerializeToString,
                                             echo_pb.SpeakResponse.FromString)
        self.call(echo_pb.SpeakRequest(input="first"), timeout=30, wait_for_ready=True)

    def close(self):
        self.channel.close()

    def ask(self, text):
        return self.call(echo_pb.SpeakRequest(input=text), timeout=20).output


def proxyless_clients_see_no_failure_either(running):
    cluster = running.cluster(1)
    fuse = running.service("fuse", [f"--service.entrypoint=http://{cluster.endpoint}",
                                    "--fuse.listener.port=0"])
    bootstrap = os.path.join(cluster.directory, "bootstrap.json")
    with open(bootstrap, "w", encoding="ascii") as f:
        json.dump({"xds_servers": [{"server_uri": fuse.address, "server_features": ["xds_v3"],
                                    "channel_creds": [{"type": "insecure"}]}],
                   "node": {"id": "rolling", "cluster": "edge"}}, f)
    os.environ["GRPC_XDS_BOOTSTRAP"] = bootstrap
    echoes = [running.echo(cluster, name=f"echo-{i}") for i in range(3)]
    loads = running.add(Loads(0, 3, (XdsLoad,)))
    restart_all(loads, echoes)


if __name__ == "__main__":
    if shutil.which("haproxy") is None and not os.path.exists("/usr/sbin/haproxy"):
        note("no haproxy here: ./dev deps installs it")
        sys.exit(1)
    main(instances_restart_one_by_one_and_no_request_fails, an_instance_that_is_killed_is_left_out,
         weights_share_the_requests, requests_go_on_without_fuse,
         requests_go_on_without_blueprints_leader, proxyless_clients_see_no_failure_either)
