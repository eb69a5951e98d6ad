#!/usr/bin/python3
"""Proxyless gRPC clients nobody here wrote on `xds:///…` of a real Fuse: Debian's Python and Ruby
(C core) and npm's grpc-js-xds. Instances that come, go and turn unhealthy, weights, a service that is
not there yet, Fuse and Blueprint's leader killed."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import (Failed, check, client, main, net_pb, note, # noqa: E402
                 routing_pb, wait_for)
from processes import SOURCE  # noqa: E402
from registered import Registered  # noqa: E402
from traffic import served  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
NET = "core.control_plane.networking.v1.NetworkingService"
ROUTING = "draft.routing.v1.RoutingService"


class Foreign:
    """A client program: so many calls, how many succeeded."""

    def __init__(self, argv, directory, fuse, name):
        bootstrap = os.path.join(directory, f"{name}.json")
        with open(bootstrap, "w", encoding="ascii") as f:
            json.dump({"xds_servers": [{"server_uri": fuse, "server_features": ["xds_v3"],
                                        "channel_creds": [{"type": "insecure"}]}],
                       "node": {"id": name, "cluster": "", "locality": {}}}, f)
        self.name = name
        self.errors = open(os.path.join(directory, f"{name}.log"), "w", encoding="utf-8")
        self.child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=self.errors, text=True,
                                      env={**os.environ, "GRPC_XDS_BOOTSTRAP": bootstrap,
                                           "GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS": "100"})

    def calls(self, n):
        """(succeeded, failed, words of the last failure)"""
        self.child.stdin.write(f"{n}\n")
        self.child.stdin.flush()
        line = self.child.stdout.readline()
        if not line:
            raise Failed(f"the client {self.name} ended: {open(self.errors.name).read()[-2000:]}")
        succeeded, failed, *words = line.split(" ", 2)
        return int(succeeded), int(failed), " ".join(words).strip()

    def all_succeed(self, n, text):
        succeeded, failed, words = self.calls(n)
        check((succeeded, failed) == (n, 0),
              f"{self.name}: {text}: {succeeded} of {n}" + (f", {words}" if failed else ""))

    def remove(self):
        self.child.kill()
        self.child.wait()
        self.errors.close()


class World:
    """A cluster, Fuse, and echoes that are registered by the test alone."""

    def __init__(self, running, nodes=1):
        self.running = running
        self.cluster = running.cluster(nodes, ["--blueprint.registry.ttl=1h"])
        self.fuse = running.service("fuse", [
            "--service.entrypoint=" + ",".join(self.cluster.addresses)])
        self.directory = self.fuse.directory
        self.protos = os.path.join(self.directory, "protos")
        os.makedirs(self.protos, exist_ok=True)
        for language in ("python", "ruby"):
            subprocess.run(["protoc", f"-I{SOURCE}/proto", f"--{language}_out={self.protos}",
                            "examples/echo/v1/echo.proto"], check=True)

    def echo(self):
        return self.running.service("echo")

    def foreign(self, kind, target):
        fuse = self.fuse.address
        program = {"python": ["/usr/bin/python3", f"{HERE}/xds/client.py", self.protos],
                   "ruby": ["/usr/bin/ruby", f"{HERE}/xds/client.rb", self.protos],
                   "grpc-js": [f"{HERE}/clients/run.sh", "xds_calls.mjs", SOURCE]}[kind]
        return self.running.add(Foreign([*program, target], self.directory, fuse, kind))

    def add_route(self, name, **fields):
        request = net_pb.AddRouteRequest()
        request.route.name = name
        request.route.enable_http2 = True
        targets = fields.pop("targets")
        for key, value in fields.items():
            setattr(request.route.match, key, value)
        for service, weight in targets.items():
            request.route.targets.add(service=service, weight=weight)
        with client(self.fuse.address) as c:
            answer = c.unary(f"{NET}/AddRoute", request, net_pb.AddRouteResponse)
        check(answer.code == net_pb.OK, f"route {name} added {list(answer.problems)}")

    def proxies(self):
        with client(self.fuse.address) as c:
            return c.unary(f"{ROUTING}/ListProxies", routing_pb.ListProxiesRequest(),
                           routing_pb.ListProxiesResponse).proxies

    def in_sync(self):
        """Every proxy has acknowledged what Fuse knows."""
        wait_for("all proxies in sync", lambda: all(p.in_sync for p in self.proxies()))


def shares(echoes, foreign, n):
    """How many of n calls each instance got."""
    before = [served(e) for e in echoes]
    foreign.all_succeed(n, "calls")
    return [served(e) - b for e, b in zip(echoes, before)]


KINDS = ("python", "ruby", "grpc-js")


def clients_follow_instances(running):
    world = World(running)
    first, second = world.echo(), world.echo()
    with client(world.cluster.endpoint) as registry:
        one = Registered(registry, "echo", first.address)
        for kind in KINDS:
            foreign = world.foreign(kind, "xds:///echo")
            foreign.all_succeed(20, "resolves xds:///echo and calls it")
            two = Registered(registry, "echo", second.address)
            wait_for("calls at the instance that came",
                     lambda f=foreign: shares([second], f, 10)[0] > 0)
            got = shares([first, second], foreign, 40)
            check(min(got) >= 10, f"{kind}: the load is shared: {got}")
            one.healthy(False)
            wait_for("no calls at the unhealthy instance",
                     lambda f=foreign: shares([first], f, 10)[0] == 0)
            foreign.all_succeed(20, "the healthy instance has it all")
            one.healthy(True)
            wait_for("calls at the instance that is well again",
                     lambda f=foreign: shares([first], f, 10)[0] > 0)
            two.leave()
            wait_for("no calls at the instance that left",
                     lambda f=foreign: shares([second], f, 10)[0] == 0)


def clients_follow_weights(running):
    world = World(running)
    old, new = world.echo(), world.echo()
    with client(world.cluster.endpoint) as registry:
        Registered(registry, "echo-old", old.address)
        Registered(registry, "echo-new", new.address)
        world.add_route("split", host="shop", prefix="/", targets={"echo-old": 90, "echo-new": 10})
        for kind in KINDS:
            foreign = world.foreign(kind, "xds:///shop")
            got = shares([old, new], foreign, 500)
            check(15 <= got[1] <= 100, f"{kind}: 90 to 10 is {got}")
            world.add_route("split", host="shop", prefix="/",
                            targets={"echo-old": 0, "echo-new": 100})
            wait_for("all calls at the new one",
                     lambda f=foreign: shares([old, new], f, 20) == [0, 20])
            note(f"{kind}: all at the new one")
            world.add_route("split", host="shop", prefix="/",
                            targets={"echo-old": 90, "echo-new": 10})
            world.in_sync()


def a_service_that_comes_later_is_found(running):
    world = World(running)
    echo = world.echo()
    foreign = [world.foreign(kind, "xds:///later") for kind in KINDS]
    for f in foreign:
        succeeded, failed, words = f.calls(1)
        check((succeeded, failed) == (0, 1), f"{f.name}: nobody there: {words[:120]}")
    with client(world.cluster.endpoint) as registry:
        Registered(registry, "later", echo.address)
        for f in foreign:
            wait_for(f"{f.name} to find it", lambda f=f: f.calls(1)[0] == 1)
            f.all_succeed(20, "it is found")


def traffic_goes_on_without_fuse_and_over_a_lost_leader(running):
    world = World(running, nodes=3)
    first, second = world.echo(), world.echo()
    with client(world.cluster.leader().address) as registry:
        Registered(registry, "echo", first.address)
    foreign = [world.foreign(kind, "xds:///echo") for kind in KINDS]
    for f in foreign:
        f.all_succeed(10, "calls before")
    world.fuse.kill()
    for f in foreign:
        f.all_succeed(50, "calls while Fuse is dead")
    leader = world.cluster.leader()
    leader.kill()
    for f in foreign:
        f.all_succeed(50, "calls while the leader is dead, too")
    wait_for("a new leader", lambda: world.cluster.leader() is not None)
    with client(world.cluster.leader().address) as registry:
        Registered(registry, "echo", second.address)
        world.fuse.start()
        for f in foreign:
            wait_for(f"{f.name} to learn of the instance that came meanwhile",
                     lambda f=f: shares([second], f, 10)[0] > 0)
        world.in_sync()


if __name__ == "__main__":
    main(clients_follow_instances, clients_follow_weights, a_service_that_comes_later_is_found,
         traffic_goes_on_without_fuse_and_over_a_lost_leader)
