#!/usr/bin/python3
"""A real HAProxy kept in step by Fuse: a thousand route changes under traffic, Fuse killed and taken
over from, Blueprint's leader killed."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import check, client, main, net_pb, note, routing_pb, wait_for  # noqa: E402
from processes import free_port, http  # noqa: E402
from traffic import SPEAK, Traffic, by_grpc, by_http  # noqa: E402

NET = "core.control_plane.networking.v1.NetworkingService"
ROUTING = "draft.routing.v1.RoutingService"


def served(echo):
    """Calls an instance has answered."""
    found = re.search(r'handled_total{method="/examples.echo.v1.EchoService/Speak",code="OK"} (\d+)',
                      http(echo.url("/metrics"))[2].decode())
    return int(found.group(1)) if found else 0


class Entry:
    """Blueprint, Fuse with its HAProxy, and the address requests enter at."""

    def __init__(self, running, nodes=1):
        self.running = running
        self.cluster = running.cluster(nodes)
        self.address = f"127.0.0.1:{free_port()}"
        self.fuse = running.service("fuse", [
            "--service.entrypoint=" + ",".join(self.cluster.addresses),
            "--fuse.haproxy.enabled=true", "--fuse.haproxy.stop=true",
            f"--fuse.listener.port={self.address.rpartition(':')[2]}"])
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


def status(address, path):
    return http(f"http://{address}{path}", data=b'{"input":"x"}',
                headers={"content-type": "application/json"})[0]


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


if __name__ == "__main__":
    main(a_thousand_route_changes_while_traffic_flows,
         traffic_goes_on_without_fuse_and_the_next_one_takes_over)
