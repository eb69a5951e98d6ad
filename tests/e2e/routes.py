#!/usr/bin/python3
"""Routes between real processes: services tell theirs, dctl adds, compares, brings back and explains;
all of it is there after Fuse or Blueprint were killed, and a Fuse that moved is found."""
import concurrent.futures
import http.client
import json
import os
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import Client, check, echo_pb, grpc, main, processes, run, status_of, wait_for  # noqa: E402

ECHO = "/examples.echo.v1.EchoService/"


class Platform:
    """A Blueprint, a Fuse, and dctl that finds Fuse through Blueprint."""

    def __init__(self, running, nodes=1):
        self.running = running
        self.cluster = running.cluster(nodes)
        self.flag = "--service.entrypoint=" + ",".join(
            f"http://{a}" for a in self.cluster.addresses)
        self.fuse = running.service("fuse", [self.flag, "--fuse.listener.port=0",
                                             "--service.report_interval=500ms"])

    def dctl(self, *words, **options):
        return run([f"{processes.BIN}/dctl", *words],
                   env={"DRAFT_ENDPOINT": self.cluster.endpoint}, **options)

    def routes(self):
        done = self.dctl("routes", "list", "-o", "json", "--timeout", "2s")
        return {r["name"]: r for r in done.json()} if done.code == 0 else None

    def endpoints(self, name):
        """Of the route's targets those that get requests now."""
        done = self.dctl("routes", "get", name, "-o", "json", "--timeout", "2s")
        targets = done.json()["status"]["targets"] if done.code == 0 else []
        return sorted(e["address"] for t in targets for e in t["endpoints"] if e["usable"])


def services_tell_their_routes(running):
    platform = Platform(running)
    echo = running.echo(platform.cluster)
    wait_for("echo's routes", lambda: {"default-echo", "echo-grpc"} <= set(platform.routes() or {}))
    check(True, "echo's two routes are there")
    wait_for("echo as endpoint", lambda: platform.endpoints("echo-grpc") == [echo.address])
    check(platform.endpoints("default-echo") == [f"127.0.0.1:{echo.ports['http']}"],
          "gRPC goes to its RPC port, the rest to its HTTP port")
    version = platform.routes()["echo-grpc"]["status"]["version"]
    second = running.echo(platform.cluster, name="echo-2")
    wait_for("two endpoints", lambda: len(platform.endpoints("echo-grpc")) == 2)
    check(platform.routes()["echo-grpc"]["status"]["version"] == version,
          "a second instance tells the same: no new version")
    second.stop()
    wait_for("one endpoint", lambda: platform.endpoints("echo-grpc") == [echo.address])
    check(True, "an instance that ends is no endpoint any more")

    done = platform.dctl("routes", "explain", "POST", f"http://any{ECHO}Speak", "-H",
                         "content-type: application/grpc", "-o", "json")
    check(done.code == 0 and done.json()["winner"] == "echo-grpc", "a gRPC call takes echo-grpc")
    done = platform.dctl("routes", "explain", "POST", f"http://any{ECHO}Speak", "-o", "json")
    check(done.json()["winner"] == "default-echo", "a JSON call takes default-echo")
    check(platform.dctl("routes", "explain", "http://any/elsewhere").code == 3,
          "another path takes none")


def routes_outlive_fuse_and_blueprint(running):
    platform = Platform(running, 3)
    echo = running.echo(platform.cluster)
    wait_for("echo's routes", lambda: platform.endpoints("echo-grpc") == [echo.address])
    check(platform.dctl("routes", "add", "mine", "--prefix", "/mine", "--service", "echo").code == 0,
          "a route is added")
    before = platform.routes()
    platform.fuse.kill()
    check(platform.dctl("routes", "list", "--timeout", "2s").code in (3, 4), "Fuse is killed")
    platform.fuse.ports["rpc"] = processes.free_port()
    platform.fuse.start()
    wait_for("the same routes", lambda: platform.endpoints("echo-grpc") == [echo.address])
    after = wait_for("the list", platform.routes)
    check({n: r["status"]["version"] for n, r in after.items()} ==
          {n: r["status"]["version"] for n, r in before.items()},
          "the next Fuse, elsewhere, has the same routes and versions")
    leader = wait_for("a leader", platform.cluster.leader)
    leader.kill()
    wait_for("a change without that node", lambda: platform.dctl(
        "routes", "add", "mine", "--prefix", "/other", "--service", "echo", "--timeout",
        "2s").code == 0)
    leader.start()
    check(platform.dctl("routes", "rollback", "mine").code == 0, "Blueprint's leader was killed")
    check(platform.routes()["mine"]["match"]["prefix"] == "/mine", "rolled back")
    # gone, but the service that told it lives: within one and a half intervals it is there again
    check(platform.dctl("routes", "delete", "echo-grpc").code == 0, "echo's route is deleted")
    wait_for("echo's route", lambda: "echo-grpc" in (platform.routes() or {}), 60)
    check(True, "echo found the Fuse that moved, and told its route again")


def files_go_in_and_come_out(running):
    platform = Platform(running)
    file = os.path.join(platform.cluster.directory, "routes.yaml")
    with open(file, "w", encoding="ascii") as f:
        f.write("name: a\nmatch: {host: shop.example.com, prefix: /api/}\ntimeout: 2s\n"
                "targets:\n  - {service: shop, weight: 90}\n  - {service: next, weight: 10}\n"
                "---\nname: b\nmatch: {regex: '/[a-z]+/x'}\nendpoint: {host: 10.0.0.7, port: 80}\n")
    done = platform.dctl("routes", "add", "-f", file)
    check(done.code == 0 and "b  version" in done.out, "two documents, two routes")
    check("no instance of service 'shop'" in done.err, "a warning names what nobody serves")
    before = platform.routes()
    listed = platform.dctl("routes", "list", "-o", "yaml").out
    check(platform.dctl("routes", "delete", "b").code == 0, "b is deleted")
    check(platform.dctl("routes", "add", "-f", "-", stdin=listed).code == 0,
          "what list printed is added")
    after = platform.routes()
    check({n: {k: v for k, v in r.items() if k != "status"} for n, r in before.items()} ==
          {n: {k: v for k, v in r.items() if k != "status"} for n, r in after.items()},
          "the routes are as before")
    check(after["a"]["status"]["version"] == before["a"]["status"]["version"],
          "what did not change has no new version")
    changes = [r["change"] for r in platform.dctl("routes", "history", "b", "-o", "json").json()]
    check(changes == ["added", "deleted", "added"], f"history of b: {', '.join(changes)}")
    done = platform.dctl("routes", "add", "a", "--prefix", "/api/", "--service", "shop",
                         "--dry-run")
    check(done.code == 0 and "would change" in done.out and "targets[1]" in done.out,
          "a dry run names what would change")
    check(platform.routes()["a"] == after["a"], "and changes nothing")
    done = platform.dctl("routes", "add", "bad", "--regex", "(?=x)", "--service", "shop")
    check(done.code == 1 and "match.regex" in done.err, "a refusal names the field")
    done = platform.dctl("routes", "add", "a", "--service", "shop", "--expect", "1")
    check(done.code == 1, "an expected version that is not the present one is refused")
    check(platform.dctl("proxies", "list", "-o", "json").json() == [], "no proxy is connected")
    check(platform.dctl("proxies", "get", "nobody").code == 3, "there is no proxy 'nobody'")


class SlowFuse(grpc.GenericRpcHandler):
    """Takes every route; says that proxies have let go when it is told to."""

    def __init__(self):
        self.asked, self.let_go = threading.Event(), threading.Event()
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        self.server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(
            self.await_withdrawn if details.method.endswith("/AwaitWithdrawn")
            else lambda request, context: b"\x08\x01")  # AddRouteResponse.code OK

    def await_withdrawn(self, request, context):
        self.asked.set()
        self.let_go.wait(20)
        return b"\x08\x01"  # withdrawn

    def remove(self):
        self.let_go.set()
        self.server.stop(None)


def requests_while_draining(running, cluster):
    """What a service answers on connections that were open, while Fuse makes it wait: (HTTP status,
    connection header, body, gRPC status, /readyz), and whether all that was within its second."""
    fuse = running.add(SlowFuse())
    echo = running.echo(cluster, [f"--fuse.address=http://{fuse.address}"])
    kept = http.client.HTTPConnection("127.0.0.1", echo.ports["http"], timeout=10)
    channel = Client(echo.address)

    def by_http():
        kept.request("POST", f"{ECHO}Speak", json.dumps({"input": "hi"}),
                     {"content-type": "application/json"})
        answer = kept.getresponse()
        return answer.status, answer.headers.get("connection", "").lower(), answer.read()

    def by_grpc():
        return status_of(lambda: channel.unary(f"{ECHO[1:]}Speak", echo_pb.SpeakRequest(
            input="hi"), echo_pb.SpeakResponse))[0]

    wait_for("registration", lambda: run(
        [f"{processes.BIN}/dctl", "services", "get", "echo", "--endpoint",
         cluster.endpoint]).code == 0)
    status, connection, _ = by_http()
    check((status, connection, by_grpc()) == (200, "", "OK"), "both are served")
    kept.auto_open = 0  # from here on only the connection that is open
    echo.server.process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    check(fuse.asked.wait(20), "draining it asks Fuse to wait")
    try:
        seen = (*by_http(), by_grpc(), processes.http(echo.url("/readyz"))[0])
    except OSError as error:
        seen = (str(error),)
    in_time = time.monotonic() - began < 0.9
    fuse.let_go.set()
    check(echo.server.process.wait(20) == 0, "once proxies have let go it ends")
    check(not in_time or "does not say" not in echo.tail(40), "and had Fuse's word")
    return seen, in_time


def a_draining_service_serves_on_until_proxies_have_let_go(running):
    cluster = running.cluster(1)
    for _ in range(5):  # on a machine so busy that the second is over, once more
        seen, in_time = requests_while_draining(running, cluster)
        if in_time:
            break
    check(in_time, "in time")
    check(seen[:2] == (200, "close") and b"hi" in seen[2],
          "meanwhile HTTP is answered where it was open, and the answer closes the connection")
    check(seen[3] == "OK", "gRPC is answered where it was open")
    check(seen[4] == 503, "though it says that it is not ready")


if __name__ == "__main__":
    main(services_tell_their_routes, routes_outlive_fuse_and_blueprint, files_go_in_and_come_out,
         a_draining_service_serves_on_until_proxies_have_let_go)
