#!/usr/bin/python3
"""A real HAProxy kept in step by Fuse: a thousand route changes under traffic, Fuse killed and taken
over from, Blueprint's leader killed."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import (check, client, dctl, main, net_pb, note, processes, routing_pb,  # noqa: E402
                 wait_for)
from processes import free_port, http  # noqa: E402
from traffic import SPEAK, Traffic, by_grpc, by_http, served  # noqa: E402

NET = "core.control_plane.networking.v1.NetworkingService"
ROUTING = "draft.routing.v1.RoutingService"


class Entry:
    """Blueprint, Fuse with its HAProxy, and the address requests enter at."""

    def __init__(self, running, nodes=1, flags=()):
        self.running = running
        self.cluster = running.cluster(nodes)
        self.address = f"127.0.0.1:{free_port()}"
        self.fuse = running.service("fuse", [
            "--service.entrypoint=" + ",".join(self.cluster.addresses),
            "--fuse.haproxy.enabled=true", "--fuse.haproxy.stop=true",
            f"--fuse.listener.port={self.address.rpartition(':')[2]}", *flags])
        running.add(self)

    def remove(self):
        """HAProxy outlives a killed Fuse: one that may end it normally is started for that."""
        if not self.fuse.alive():
            self.fuse.start()
        self.fuse.stop()

    def proxy(self):
        with client(self.fuse.address) as c:
            proxies = c.unary(f"{ROUTING}/ListProxies", routing_pb.ListProxiesRequest(),
                              routing_pb.ListProxiesResponse).proxies
        return next((p for p in proxies if p.kind == routing_pb.Proxy.HAPROXY), None)

    def in_sync(self):
        wait_for("HAProxy in sync", lambda: self.proxy() is not None and self.proxy().in_sync)

    def answers(self, way):
        return way(self.address)("probe") is None

    def open(self):
        """Echo brings its routes; ready when both protocols are answered."""
        for way in (by_http, by_grpc):
            wait_for(f"an answer {way.__name__}", lambda w=way: self.answers(w))
        return self


def status(address, path, headers=()):
    return http(f"http://{address}{path}", data=b'{"input":"x"}',
                headers={"content-type": "application/json", **dict(headers)})[0]


def a_thousand_route_changes_while_traffic_flows(running):
    entry = Entry(running)
    running.echo(entry.cluster)
    entry.open()
    before = entry.proxy()
    traffic = running.add(Traffic(entry.address))
    with client(entry.fuse.address) as c:
        call = c.channel.unary_unary(f"/{NET}/AddRoute",
                                     net_pb.AddRouteRequest.SerializeToString,
                                     net_pb.AddRouteResponse.FromString)
        for i in range(1000):
            request = net_pb.AddRouteRequest()
            request.route.name = f"r{i % 200}"
            request.route.match.path = f"/change/{i}"
            request.route.prefix_rewrite = f"/{SPEAK}"
            request.route.targets.add(service="echo")
            if call(request, timeout=10).code != net_pb.OK:
                raise AssertionError(f"change {i} was refused")
    wait_for("the last change at work", lambda: status(entry.address, "/change/999") == 200)
    entry.in_sync()
    check([status(entry.address, f"/change/{i}") for i in (0, 799, 800, 999)]
          == [404, 404, 200, 200], "what was replaced is gone, what is there answers")
    reloads = len(entry.proxy().resources) and entry.proxy().resources[0].sent_version
    note(f"configuration {before.resources[0].sent_version} -> {reloads}")
    traffic.none_failed("1,000 route changes")


def traffic_goes_on_without_fuse_and_the_next_one_takes_over(running):
    entry = Entry(running, nodes=3)
    first = running.echo(entry.cluster, name="echo")
    entry.open()
    traffic = running.add(Traffic(entry.address))
    entry.fuse.kill()
    check(entry.answers(by_http) and entry.answers(by_grpc), "requests are answered without Fuse")
    entry.cluster.leader().kill()
    wait_for("a new leader", lambda: entry.cluster.leader() is not None)
    second = running.echo(entry.cluster, name="echo")
    entry.fuse.start()
    wait_for("requests at the instance that came while Fuse was dead", lambda: served(second) > 0)
    entry.in_sync()
    first.stop()
    check(entry.answers(by_http) and entry.answers(by_grpc), "it has them all")
    traffic.none_failed("Fuse and the leader killed, an instance replaced")


PICKY = """#!/bin/sh
if [ "$1" = -c ] && grep -q poison "$3"; then
    echo "[ALERT] poison: not with me" >&2
    exit 1
fi
exec haproxy "$@"
"""


def a_route_haproxy_refuses_is_kept_away_and_the_rest_goes_on(running):
    directory = processes.workdir("picky")
    program = f"{directory}/haproxy"
    with open(program, "w", encoding="ascii") as f:
        f.write(PICKY)
    os.chmod(program, 0o755)
    entry = Entry(running, flags=[f"--fuse.haproxy.program={program}"])
    running.echo(entry.cluster)
    entry.open()

    def add(name, path, header=""):
        request = net_pb.AddRouteRequest()
        request.route.name, request.route.match.path = name, path
        if header:
            request.route.match.headers.key = header
        request.route.prefix_rewrite = f"/{SPEAK}"
        request.route.targets.add(service="echo")
        with client(entry.fuse.address) as c:
            c.unary(f"{NET}/AddRoute", request, net_pb.AddRouteResponse)

    def quarantines():
        return dctl(entry.fuse.address, "routes", "get", "guilty", "-o",
                    "json").json()["status"]["quarantines"]
    add("guilty", "/bad", "x-poison")
    add("innocent", "/fine")
    wait_for("the quarantine", quarantines)
    [found] = quarantines()
    check("poison: not with me" in found["text"] and found["proxy"] == "haproxy",
          f"dctl shows who refused it and its words: {found['proxy']}: {found['text'][:80]!r}")
    wait_for("the other route", lambda: status(entry.address, "/fine") == 200)
    check(status(entry.address, "/bad", {"x-poison": "1"}) == 404, "the rest is served without it")
    add("guilty", "/mended")
    wait_for("the mended route", lambda: status(entry.address, "/mended") == 200)
    wait_for("no quarantine", lambda: not quarantines())
    check(True, "its next version is released")
    entry.remove()
    processes.rmtree(directory)


if __name__ == "__main__":
    main(a_thousand_route_changes_while_traffic_flows,
         traffic_goes_on_without_fuse_and_the_next_one_takes_over,
         a_route_haproxy_refuses_is_kept_away_and_the_rest_goes_on)
