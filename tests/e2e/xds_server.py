#!/usr/bin/python3
"""Fuse's xDS as a scripted client sees it over real processes: a restarted Fuse gives the same bytes
and resends nothing, node groups see their routes, names that come later, and a proxy that refuses a
route gets all the others, while dctl shows which and why."""
import os
import queue
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import Client, Failed, check, client, dctl, main, net_pb, wait_for  # noqa: E402
from processes import http  # noqa: E402
from registered import Registered  # noqa: E402
from xds import xds_messages  # noqa: E402

NET = "core.control_plane.networking.v1.NetworkingService"
ADS = "envoy.service.discovery.v3.AggregatedDiscoveryService"
URL = "type.googleapis.com/"
CDS, EDS = "envoy.config.cluster.v3.Cluster", "envoy.config.endpoint.v3.ClusterLoadAssignment"
LDS = "envoy.config.listener.v3.Listener"
RDS = "envoy.config.route.v3.RouteConfiguration"
message = xds_messages()
Request = message("envoy.service.discovery.v3.DeltaDiscoveryRequest")
Response = message("envoy.service.discovery.v3.DeltaDiscoveryResponse")
Routes = message(RDS)


class Proxy:
    """A Delta client over one ADS stream: what it has, what was sent, and what it refuses."""

    def __init__(self, address, group="", node="scripted", refuses=lambda resource: None):
        self.channel = Client(address)
        self.requests, self.refuses = queue.Queue(), refuses
        self.have, self.removed, self.sent, self.nacks = {}, set(), [], 0
        self.node = {"id": node, "cluster": group, "user_agent_name": "envoy"}
        self.stream = self.channel.bidi(f"{ADS}/DeltaAggregatedResources",
                                        iter(self.requests.get, None), Response, seconds=60)

    def ask(self, kind, names=(), have=None):
        request = Request(type_url=URL + kind, resource_names_subscribe=names,
                          initial_resource_versions=have or {})
        for key, value in self.node.items():
            setattr(request.node, key, value)
        self.node = {}
        self.requests.put(request)

    def turn(self):
        """Take one response and acknowledge or refuse it."""
        response = next(self.stream)
        answer = Request(type_url=response.type_url, response_nonce=response.nonce)
        words = [w for w in map(self.refuses, response.resources) if w]
        if words:
            self.nacks += 1
            answer.error_detail.code, answer.error_detail.message = 3, words[0]
        else:
            for resource in response.resources:
                key = response.type_url.removeprefix(URL), resource.name
                self.have[key] = (resource.version, resource.resource.value)
                self.removed.discard(key)
                self.sent.append(key)
            for name in response.removed_resources:
                key = response.type_url.removeprefix(URL), name
                self.have.pop(key, None)
                self.removed.add(key)
        self.requests.put(answer)
        return response

    def until(self, what, condition):
        for _ in range(1000):
            if condition():
                return
            self.turn()
        raise Failed(f"{what}: 1,000 responses and not yet")

    def has(self, kind, *names):
        self.until(f"{kind} {names}", lambda: all((kind, n) in self.have for n in names))

    def versions(self, kind):
        return {name: version for (k, name), (version, _) in self.have.items() if k == kind}

    def remove(self):
        self.requests.put(None)
        self.stream.cancel()
        self.channel.close()


class World:
    def __init__(self, running):
        self.running = running
        self.cluster = running.cluster(1, ["--blueprint.registry.ttl=1h"])
        self.fuse = running.service("fuse", ["--service.entrypoint=" + self.cluster.endpoint])

    def proxy(self, **options):
        return self.running.add(Proxy(self.fuse.address, **options))

    def add(self, name, service="echo", groups=(), **match):
        request = net_pb.AddRouteRequest()
        request.route.name, request.route.enable_http2 = name, True
        request.route.groups.extend(groups)
        request.route.targets.add(service=service)
        for key, value in match.items():
            setattr(request.route.match, key, value)
        with client(self.fuse.address) as c:
            answer = c.unary(f"{NET}/AddRoute", request, net_pb.AddRouteResponse)
        if answer.code != net_pb.OK:
            raise Failed(f"route {name}: {list(answer.problems)}")

    def delete(self, name):
        with client(self.fuse.address) as c:
            c.unary(f"{NET}/DeleteRoute", net_pb.DeleteRouteRequest(name=name),
                    net_pb.DeleteRouteResponse)


def everything(proxy, hosts):
    """All that a proxy with these hosts asks for."""
    proxy.ask(CDS, ["*"])
    proxy.ask(LDS, ["*", *hosts])
    proxy.ask(RDS, ["listener/default", *hosts])
    proxy.ask(EDS, ["echo", "other"])
    proxy.has(CDS, "echo", "other")
    proxy.has(LDS, "listener/default", *hosts)
    proxy.has(RDS, "listener/default", *hosts)
    proxy.has(EDS, "echo", "other")


def a_restarted_fuse_gives_the_same_bytes_and_resends_nothing(running):
    world = World(running)
    hosts = [f"h{i}" for i in range(20)]
    with client(world.cluster.endpoint) as registry:
        kept = [Registered(registry, "echo", f"127.0.0.1:{7000 + i}") for i in range(3)]
        kept += [Registered(registry, "other", "127.0.0.1:7100")]
        for i, host in enumerate(hosts):
            world.add(f"r{i}", service=["echo", "other"][i % 2], host=host, prefix=f"/{i}")
            world.add(f"s{i}", host=host, path=f"/exact/{i}")
        world.delete("s3")  # a deletion leaves no trace in what is there
        world.add("r5", service="echo", host="h5", prefix="/again")
        kept[2].healthy(False)
        first = world.proxy()
        everything(first, hosts)
        world.fuse.kill()
        world.fuse.start()
        second = world.proxy(node="fresh")
        everything(second, hosts)
        check(second.have == first.have, f"{len(first.have)} resources have the same versions and "
                                         "bytes after a kill")
        third = world.proxy(node="resumed")
        for kind in (CDS, LDS, RDS, EDS):
            names = {n for k, n in first.have if k == kind}
            third.ask(kind, ["*", *names] if kind in (CDS, LDS) else names, first.versions(kind))
        world.add("r7", service="other", host="h7", prefix="/changed")
        third.until("the change", lambda: (RDS, "h7") in third.have)
        extra = set(third.sent) - {(RDS, "h7"), (RDS, "listener/default")}
        check(not extra, f"a client that resumes gets only what changed: {sorted(third.sent)}")


def metric(service, name):
    found = re.search(rf"^{name} (\d+)", http(service.url("/metrics"))[2].decode(), re.M)
    return int(found[1]) if found else 0


def changes_behind_an_unanswered_response_come_as_one(running):
    world = World(running)
    world.add("only", host="shop", prefix="/0")
    proxy = world.proxy()
    proxy.ask(RDS, ["shop"])
    response = next(proxy.stream)  # not acknowledged yet
    before = metric(world.fuse, "fuse_xds_coalesced_total")
    for i in range(1, 6):
        world.add("only", host="shop", prefix=f"/{i}")
    proxy.requests.put(Request(type_url=response.type_url, response_nonce=response.nonce))
    proxy.turn()
    [virtual_host] = Routes.FromString(proxy.have[(RDS, "shop")][1]).virtual_hosts
    check([r.match.prefix for r in virtual_host.routes] == ["/5"],
          "five changes behind it come as one response with the newest state")
    check(metric(world.fuse, "fuse_xds_coalesced_total") > before, "and the metric counts them")


def groups_see_their_own_routes_and_names_may_come_later(running):
    world = World(running)
    with client(world.cluster.endpoint) as registry:
        kept = Registered(registry, "echo", "127.0.0.1:7000")
        world.add("all", host="shop", prefix="/all")
        world.add("inner", host="shop", prefix="/inner", groups=["inner"])
        inner, outer = world.proxy(group="inner", node="a"), world.proxy(group="outer", node="b")
        for proxy in (inner, outer):
            proxy.ask(RDS, ["shop", "later"])
            proxy.until("both answers", lambda p=proxy: (RDS, "shop") in p.have
                        and (RDS, "later") in p.removed)

        def prefixes(proxy):
            routes = Routes.FromString(proxy.have[(RDS, "shop")][1]).virtual_hosts[0].routes
            return [r.match.prefix for r in routes]
        check(prefixes(inner) == ["/inner", "/all"] and prefixes(outer) == ["/all"],
              f"inner {prefixes(inner)}, outer {prefixes(outer)}")
        world.add("later", host="later", prefix="/")
        for proxy in (inner, outer):
            proxy.has(RDS, "later")
        check(True, "a name asked for before it existed is sent when it does")
        kept.leave()


def a_refused_route_is_kept_away_and_the_rest_goes_on(running):
    world = World(running)

    def refuses(resource):
        return "prefix /bad: not with me" if b"/bad" in resource.resource.value else None
    with client(world.cluster.endpoint) as registry:
        kept = Registered(registry, "echo", "127.0.0.1:7000")
        for i in range(16):
            world.add(f"r{i}", host="shop", prefix=f"/good/{i}")
        proxy = world.proxy(group="edge", refuses=refuses)
        proxy.ask(RDS, ["shop"])
        proxy.has(RDS, "shop")
        world.add("guilty", host="shop", prefix="/bad")
        world.add("r3", host="shop", prefix="/good/new")

        def shown():
            return dctl(world.fuse.address, "routes", "get", "guilty", "-o", "json").json()["status"]
        wait_for_turns(proxy, lambda: shown()["quarantines"])
        [found] = shown()["quarantines"]
        check(found["group"] == "edge" and "prefix /bad: not with me" in found["text"],
              f"dctl shows who refused it and its words: {found['proxy']}: {found['text']}")
        proxy.until("the other change", lambda: b"/good/new" in proxy.have[(RDS, "shop")][1])
        check(b"/bad" not in proxy.have[(RDS, "shop")][1], "the rest is served without it")
        world.fuse.kill()
        world.fuse.start()
        again = world.proxy(group="edge", node="again", refuses=refuses)
        again.ask(RDS, ["shop"])
        again.has(RDS, "shop")
        check(again.nacks == 0, "it is kept away after a restart, too: nothing to refuse")
        world.add("guilty", host="shop", prefix="/mended")
        again.until("the mended route", lambda: b"/mended" in again.have[(RDS, "shop")][1])
        wait_for("no quarantine", lambda: not shown()["quarantines"])
        check(True, "a new version is released")
        kept.leave()


def wait_for_turns(proxy, condition):
    """The proxy takes what comes until the condition holds."""
    for _ in range(100):
        if condition():
            return
        proxy.turn()
    raise Failed("100 responses and not yet")


if __name__ == "__main__":
    main(a_restarted_fuse_gives_the_same_bytes_and_resends_nothing,
         changes_behind_an_unanswered_response_come_as_one,
         groups_see_their_own_routes_and_names_may_come_later,
         a_refused_route_is_kept_away_and_the_rest_goes_on)
