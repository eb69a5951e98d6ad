#!/usr/bin/python3
"""Fuse as real clients meet it: gRPC's Python client and dctl, over a real Blueprint. Routes, their
versions, why a request goes where it goes, watches, several Fuses, and who is killed meanwhile."""
import json
import os
import queue
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import (Client, check, client, dctl, main, net_pb, refused, routing_pb, run,  # noqa: E402
                 sd_pb, status_of, text_of, wait_for)
from processes import free_port, http, rmtree, workdir  # noqa: E402

NET = "core.control_plane.networking.v1.NetworkingService"
ROUTING = "draft.routing.v1.RoutingService"
EVENT = routing_pb.RouteEvent
OK, INVALID = 1, 3


def entry(cluster):
    return "--service.entrypoint=" + ",".join(f"http://{a}" for a in cluster.addresses)


def start_fuse(running, cluster, flags=(), **options):
    return running.service("fuse", [entry(cluster), "--service.report_interval=200ms", *flags],
                           **options)


class Fuse(Client):
    """The RPCs of one Fuse."""

    def add(self, name="", prefix="", service="echo", expected=None, metadata=None, **fields):
        match = net_pb.RouteMatch(prefix=prefix, host=fields.pop("host", ""))
        route = net_pb.Route(name=name, match=match, **fields)
        if service:
            route.targets.add(service=service, weight=1)
        request = net_pb.AddRouteRequest(route=route)
        if expected is not None:
            request.expected_version = expected
        return self.unary(f"{NET}/AddRoute", request, net_pb.AddRouteResponse, metadata=metadata)

    def added(self, *words, **fields):
        """The version of a route that must be accepted."""
        answer = self.add(*words, **fields)
        if answer.code != OK:
            raise AssertionError(f"{words}: {list(answer.problems)}")
        return answer.version

    def delete(self, name, **fields):
        return self.unary(f"{NET}/DeleteRoute", net_pb.DeleteRouteRequest(name=name, **fields),
                          net_pb.DeleteRouteResponse)

    def list(self, **fields):
        return self.unary(f"{NET}/ListRoutes", net_pb.ListRoutesRequest(**fields),
                          net_pb.ListRoutesResponse)

    def names(self):
        return [r.name for r in self.list().routes]

    def route(self, name):
        return self.unary(f"{ROUTING}/GetRoute", routing_pb.GetRouteRequest(name=name),
                          routing_pb.RouteState)

    def history(self, name, limit=0):
        return self.unary(f"{ROUTING}/History", routing_pb.HistoryRequest(name=name, limit=limit),
                          routing_pb.HistoryResponse).versions

    def diff(self, name, old=0, new=0):
        request = routing_pb.DiffRequest(name=name, from_version=old, to_version=new)
        return self.unary(f"{ROUTING}/Diff", request, routing_pb.DiffResponse)

    def rollback(self, name, version=0):
        return self.unary(f"{ROUTING}/Rollback",
                          routing_pb.RollbackRequest(name=name, to_version=version),
                          routing_pb.RollbackResponse)

    def explain(self, host, path, method="", headers=(), **fields):
        request = routing_pb.ExplainRequest(method=method, host=host, path=path, **fields)
        for key, value in headers:
            request.headers.add(name=key, value=value)
        return self.unary(f"{ROUTING}/Explain", request, routing_pb.ExplainResponse)

    def validate(self, route):
        return self.unary(f"{ROUTING}/Validate", routing_pb.ValidateRequest(route=route),
                          routing_pb.ValidateResponse).problems

    def withdrawn(self, pid, timeout_ms=0):
        request = routing_pb.AwaitWithdrawnRequest(pid=pid, timeout_ms=timeout_ms)
        return self.unary(f"{ROUTING}/AwaitWithdrawn", request, routing_pb.AwaitWithdrawnResponse,
                          seconds=20).withdrawn

    def watch(self, name=""):
        return Watch(self.server_stream(f"{ROUTING}/Watch", routing_pb.WatchRequest(name=name),
                                        EVENT, 300))


class Watch:
    """Events as they come, with what a watcher knows after them."""

    def __init__(self, stream):
        self.stream, self.events, self.known = stream, queue.Queue(), {}
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            for event in self.stream:
                self.events.put(event)
        except Exception as error:  # pylint: disable=broad-except
            self.events.put(error)

    def next(self, seconds=20):
        event = self.events.get(timeout=seconds)
        if isinstance(event, Exception):
            raise event
        if event.type == EVENT.RESYNC:
            self.known = {}
        elif event.type in (EVENT.ADDED, EVENT.CHANGED):
            self.known[event.state.route.name] = event.state
        elif event.type == EVENT.DELETED:
            self.known.pop(event.state.route.name, None)
        return event

    def until(self, kind, name=None):
        while True:
            event = self.next()
            if event.type == kind and name in (None, event.state.route.name):
                return event

    def end(self):
        self.stream.cancel()


def ends_well(node):
    check(node.stop() == 0, "Fuse ends within its grace time, with 0")


def outcomes(answer):
    return {v.route: routing_pb.Verdict.Outcome.Name(v.outcome) for v in answer.verdicts}


# --- cases --------------------------------------------------------------------------------------


def routes_have_a_life(running):
    cluster = running.cluster(1)
    echo = running.echo(cluster)
    node = start_fuse(running, cluster)
    with client(cluster.addresses[0]) as blueprint:
        wait_for("Fuse's address in its record", lambda: status_of(
            lambda: text_of(blueprint.get("fuse_address").value))[1] == f"http://{node.address}")
    fuse = Fuse(node.address)
    answer = fuse.add("shop", "/api", host="shop.example.com")
    check(answer.code == OK and answer.version > 0 and answer.name == "shop",
          f"a route is added as version {answer.version} {list(answer.problems)}")
    check(fuse.names() == ["shop"], "it is listed at once")
    again = fuse.add("shop", "/api", host="shop.example.com")
    check(again.version == answer.version, "the same route again is the same version")
    refused(lambda: fuse.add("shop", "/x", host="shop.example.com", expected=0), "ABORTED", "shop",
            "a route that must not exist, but does")
    bad = fuse.add("bad name!", "no-slash")
    check(bad.code == INVALID and any(p.startswith("name") for p in bad.problems) and
          any(p.startswith("match.prefix") for p in bad.problems),
          f"what is wrong is told by field: {list(bad.problems)}")
    clash = fuse.add("twin", "/api", host="shop.example.com")
    check(clash.code == INVALID and "shop" in clash.problems[0],
          f"a conflict names the other route: {clash.problems[0]!r}")

    second = fuse.added("shop", "/api/v2", host="shop.example.com", priority=7)
    state = fuse.route("shop")
    check(state.version == second and state.created_version == answer.version,
          "the state knows its first and its newest version")
    check(state.actor.startswith("ipv4:127.0.0.1"), f"and who wrote it: {state.actor}")
    target = state.targets[0]
    pids = [p for p in target.endpoints if p.usable]
    check(target.target == "service echo" and len(pids) == 1 and
          pids[0].address == f"127.0.0.1:{echo.ports['http']}",
          f"and where its requests go: {pids[0].address}")

    versions = fuse.history("shop")
    check([v.version for v in versions] == [second, answer.version], "history, newest first")
    check([v.change for v in versions] == [2, 1] and all(v.actor for v in versions),
          "each with its change and who made it")
    diff = {c.field: (getattr(c, "from"), c.to) for c in fuse.diff("shop").changes}
    check(diff == {"match.prefix": ('"/api"', '"/api/v2"'), "priority": ("", "7")},
          f"the difference by field: {diff}")
    back = fuse.rollback("shop")
    check(back.version > second and fuse.route("shop").route.match.prefix == "/api",
          f"rolled back as version {back.version}")
    refused(lambda: fuse.rollback("shop", 999999), "NOT_FOUND", "999999", "a version never kept")
    deleted = fuse.delete("shop")
    check(deleted.code == 1 and fuse.names() == [], "deleted")
    refused(lambda: fuse.delete("shop"), "NOT_FOUND", "shop", "deleted twice")
    refused(lambda: fuse.route("shop"), "NOT_FOUND", "shop", "got when it is gone")
    check([v.change for v in fuse.history("shop")] == [3, 4, 2, 1], "its versions stay")
    fuse.rollback("shop")
    check(fuse.names() == ["shop"], "and bring it back")
    done = dctl(None, "routes", "history", "shop", "-o", "json",
                env={"DRAFT_ROUTES_ENDPOINT": node.address})
    check(done.code == 0 and len(done.json()) == 5, "dctl shows the same history")
    kinds = dctl(cluster.addresses[0], "kv", "list", "--type", "draft.routing.v1.RouteVersion",
                 "-o", "json")
    check(kinds.code == 0 and "/api/v2" in kinds.out,
          "dctl shows the records of versions as JSON")
    ends_well(node)


def why_a_request_goes_where_it_goes(running):
    cluster = running.cluster(1)
    fuse = Fuse(start_fuse(running, cluster).address)
    fuse.added("all", "/", host="*")
    fuse.added("shop", "/", host="shop.example.com")
    fuse.added("api", "/api", host="shop.example.com", prefix_rewrite="/v1")
    fuse.added("posts", "/api", host="shop.example.com", priority=1)
    route = fuse.route("posts").route
    route.match.methods.append("POST")
    check(fuse.unary(f"{NET}/AddRoute", net_pb.AddRouteRequest(route=route),
                     net_pb.AddRouteResponse).code == OK, "a route with a condition")
    got = fuse.explain("Shop.Example.com:443", "/api/x?y=1")
    check(got.winner == "api" and got.virtual_host == "shop.example.com",
          "the longest prefix of the exact host wins")
    check(got.rewritten_path == "/v1/x?y=1", f"the target sees {got.rewritten_path}")
    check(outcomes(got) == {"api": "WINS", "shop": "LATER", "posts": "NO_MATCH", "all": "LATER"} or
          outcomes(got)["posts"] == "NO_MATCH", f"verdicts: {outcomes(got)}")
    check(all(v.reason for v in got.verdicts), "each with its reason")
    check(fuse.explain("shop.example.com", "/api", method="POST").winner == "posts",
          "a priority goes before")
    check(fuse.explain("other.example.com", "/x").winner == "all", "other hosts have '*'")
    refused(lambda: fuse.explain("x", "no-slash"), "INVALID_ARGUMENT", "path", "a path that is none")

    wrong = net_pb.Route(name="w", match=net_pb.RouteMatch(regex="(?=x)"))
    problems = fuse.validate(wrong)
    check(any(p.field == "match.regex" and p.severity == 2 for p in problems),
          f"validate names the field: {[p.field for p in problems]}")
    shadowed = net_pb.Route(name="hidden", match=net_pb.RouteMatch(
        prefix="/api/deep", host="shop.example.com"), priority=-5)
    shadowed.targets.add(service="echo", weight=1)
    problems = fuse.validate(shadowed)
    check(any(p.route == "api" and p.severity == 1 for p in problems),
          f"and the route that covers it: {[(p.route, p.text) for p in problems]}")
    check("hidden" not in fuse.names(), "and changes nothing")


def watchers_see_every_change(running):
    cluster = running.cluster(1)
    node = start_fuse(running, cluster)
    fuse = Fuse(node.address)
    for i in range(100):
        fuse.added(f"r{i:03}", f"/r{i:03}")
    watch, one = fuse.watch(), fuse.watch("r007")
    watch.until(EVENT.SYNCED)
    one.until(EVENT.SYNCED)
    check(len(watch.known) == 100 and list(one.known) == ["r007"], "all routes, then SYNCED")
    fuse.added("r007", "/changed")
    check(watch.until(EVENT.CHANGED, "r007").state.route.match.prefix == "/changed" and
          one.until(EVENT.CHANGED, "r007"), "a change reaches both")
    fuse.added("new", "/new")
    check(watch.until(EVENT.ADDED, "new"), "a new route")
    gone = fuse.delete("r007")
    check(watch.until(EVENT.DELETED, "r007").state.version == gone.version and
          one.until(EVENT.DELETED, "r007"), "a deletion, with its version")
    check(one.events.empty(), "who watches one route hears of no other")
    ends_well(node)
    code, _ = status_of(watch.next)
    check(code == "UNAVAILABLE", "its watchers are told to go elsewhere")


def a_slow_watcher_costs_nothing_and_catches_up(running):
    cluster = running.cluster(1)
    node = start_fuse(running, cluster, ["--service.logging.level=warn"])
    fuse = Fuse(node.address)

    def fat(name, prefix):
        """A route of some 8 KiB."""
        route = net_pb.Route(name=name, match=net_pb.RouteMatch(prefix=prefix))
        route.targets.add(service="echo", weight=1)
        for i in range(16):
            match = route.match.query_matches.add(name=f"q{i}")
            match.value.exact = "x" * 500
        answer = fuse.unary(f"{NET}/AddRoute", net_pb.AddRouteRequest(route=route),
                            net_pb.AddRouteResponse)
        if answer.code != OK:
            raise AssertionError(list(answer.problems))
    for i in range(50):
        fat(f"r{i:02}", f"/r{i:02}")
    slow = fuse.server_stream(f"{ROUTING}/Watch", routing_pb.WatchRequest(), EVENT, 120)
    check(next(slow).type == EVENT.ADDED, "a watcher begins to read, then stops")
    before = node.server.memory()["RssAnon"]
    for i in range(2000):
        fat(f"r{i % 50:02}", f"/{i}")
    grown = node.server.memory()["RssAnon"] - before
    check(grown < 16 << 20, f"16 MB of changes it does not read cost {grown >> 10} KiB")
    truth = {name: fuse.route(name).version for name in fuse.names()}
    known, resyncs, n = {}, 0, 0
    for event in slow:
        n += 1
        if event.type == EVENT.RESYNC:
            known, resyncs = {}, resyncs + 1
        elif event.type in (EVENT.ADDED, EVENT.CHANGED):
            known[event.state.route.name] = event.state.version
        if known == truth:
            break
    slow.cancel()
    check(resyncs > 0 and n < 2000, f"RESYNC brings it to the truth, after {n} events")


def two_fuses_and_their_restarts_agree(running):
    cluster = running.cluster(1)
    running.echo(cluster)
    nodes = [start_fuse(running, cluster, name=f"fuse{i}") for i in range(2)]
    fuses = [Fuse(n.address) for n in nodes]
    wait_for("echo's own routes", lambda: {"default-echo", "echo-grpc"} <= set(fuses[0].names()))
    for i in range(30):
        fuses[i % 2].added(f"r{i % 10}", f"/{i}")
    wait_for("both to know the same", lambda: fuses[0].list() == fuses[1].list())
    errors = []

    def write(which):
        try:
            for i in range(40):
                fuses[which].added("contested", f"/{which}/{i}")
        except Exception as error:  # pylint: disable=broad-except
            errors.append(error)
    threads = [threading.Thread(target=write, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(not errors, f"two writers of one route both get through {errors}")
    wait_for("both to know the same", lambda: fuses[0].list() == fuses[1].list())
    versions = [v.version for v in fuses[0].history("contested")]
    check(len(versions) == 20 and versions == sorted(versions, reverse=True),
          "20 versions are kept")

    def answers(fuse):
        return [fuse.list().SerializeToString(deterministic=True),
                fuse.explain("h", "/29").SerializeToString(deterministic=True),
                [fuse.route(n).SerializeToString(deterministic=True) for n in fuse.names()]]
    truth = answers(fuses[1])
    nodes[0].kill()
    nodes[0].start()
    check(answers(Fuse(nodes[0].address)) == truth, "a restarted Fuse answers the same")

    with client(cluster.addresses[0]) as blueprint:
        def address():
            code, answer = status_of(lambda: text_of(blueprint.get("fuse_address").value))
            return answer if code == "OK" else None
        holder = wait_for("an address", address)
        check(holder in [f"http://{n.address}" for n in nodes], f"the record names one: {holder}")
        first = next(n for n in nodes if holder == f"http://{n.address}")
        other = next(n for n in nodes if n is not first)
        first.stop()
        wait_for("the other one's address", lambda: address() == f"http://{other.address}")
        check(True, "when it leaves, the other one takes over")


def blueprint_may_go_and_come(running):
    cluster = running.cluster(1)
    node = start_fuse(running, cluster)
    fuse = Fuse(node.address)
    fuse.added("a", "/a")
    watch = fuse.watch()
    watch.until(EVENT.SYNCED)
    blueprint = cluster.nodes[0]
    blueprint.kill()
    check(fuse.names() == ["a"] and fuse.explain("h", "/a").winner == "a",
          "while Blueprint is away what was known stays")
    refused(lambda: fuse.add("b", "/b"), ["UNAVAILABLE", "DEADLINE_EXCEEDED"], "", "a write then")
    blueprint.start()

    def add_now():
        code, answer = status_of(lambda: fuse.add("b", "/b"))
        return code == "OK" and answer.code == OK
    wait_for("writes to work again", add_now)
    watch.until(EVENT.ADDED, "b")
    check(sorted(watch.known) == ["a", "b"], "the same watch goes on")
    check([v.change for v in fuse.history("b")] == [1], "what failed was not written twice")
    with client(cluster.addresses[0]) as c:
        wait_for("the address again", lambda: status_of(
            lambda: text_of(c.get("fuse_address").value))[1] == f"http://{node.address}")
    watch.end()
    ends_well(node)


def compaction_eats_no_history(running):
    cluster = running.cluster(1, ["--blueprint.history.revisions=1", "--blueprint.history.time=1ms"])
    node = start_fuse(running, cluster, ["--fuse.history.versions=5"])
    fuse = Fuse(node.address)
    first = fuse.added("a", "/0")
    versions = [first] + [fuse.added("a", f"/{i}") for i in range(1, 8)]
    fuse.delete("a")
    with client(cluster.addresses[0]) as blueprint:
        blueprint.set("old", "1")

        def compacted():
            blueprint.set("noise", str(time.monotonic()))
            code, _ = status_of(lambda: blueprint.get("old", at_revision=first))
            return code == "OUT_OF_RANGE"
        wait_for("compaction", compacted, 180)
    check(True, "revisions of the first versions are compacted")
    history = fuse.history("a")
    check([v.version for v in history[1:]] == versions[:3:-1] and len(history) == 5,
          f"the newest 5 versions are there: {[v.version for v in history]}")
    fuse.rollback("a", versions[-2])
    check(fuse.route("a").route.match.prefix == "/6", "and can be brought back")


def who_leaves_is_awaited(running):
    cluster = running.cluster(1)
    echo = running.echo(cluster)
    node = start_fuse(running, cluster)
    fuse = Fuse(node.address)
    fuse.added("e", "/", service="echo")
    with client(cluster.addresses[0]) as blueprint:
        pid = wait_for("echo's pid", lambda: next(iter(blueprint.processes(name="echo")), None))
    wait_for("Fuse to know it", lambda: any(
        e.pid == pid and e.usable for t in fuse.route("e").targets for e in t.endpoints))
    check(not fuse.withdrawn(pid, 100), "a process that is registered is not withdrawn")
    answer = []
    waiting = threading.Thread(target=lambda: answer.append(fuse.withdrawn(pid, 10000)))
    waiting.start()
    echo.stop()
    waiting.join()
    check(answer == [True], "one that has left is, as soon as no proxy sends to it")
    ends_well(node)


def what_happens_to_processes_has_a_revision(running):
    cluster = running.cluster(1)
    echo = running.echo(cluster)
    with client(cluster.addresses[0]) as blueprint:
        pid = wait_for("echo's pid", lambda: next(iter(blueprint.processes(name="echo")), None))
        events = blueprint.server_stream(f"{Client.SD}/Watch", sd_pb.WatchRequest(),
                                         sd_pb.ProcessEvent, 60)
        first = next(events)
        check(first.type == sd_pb.ProcessEvent.JOINED and first.revision == 0,
              "what was there has none but its incarnation")
        synced = first
        while synced.type != sd_pb.ProcessEvent.SYNCED:
            synced = next(events)
        check(synced.revision >= first.process.incarnation, "the list has one")
        echo.stop()
        left = next(e for e in events if e.type == sd_pb.ProcessEvent.LEFT)
        check(left.process.pid == pid and left.revision > synced.revision, "and each change")
        events.cancel()


def a_route_may_leave_out_who_it_is_from(running):
    cluster = running.cluster(1)
    node = start_fuse(running, cluster, ["--service.network.operator_loopback=never"])
    fuse = Fuse(node.address)
    refused(lambda: fuse.add("x", "/x"), ["UNAUTHENTICATED", "PERMISSION_DENIED"], "",
            "a stranger's route")
    with client(cluster.addresses[0]) as blueprint:
        identity = blueprint.unary(f"{Client.SD}/Initialize", sd_pb.InitializeRequest(
            name="unit", nonce=os.urandom(16).hex()), sd_pb.InitializeResponse).process_identity
        reports = queue.Queue()
        stream = blueprint.bidi(f"{Client.SD}/Synchronize", iter(reports.get, None),
                                sd_pb.ClusterDetails)
        reports.put(sd_pb.ClientDetails(
            pid=identity.pid, token=identity.token.jwt, running_state=3, health_state=1,
            process_kind=1, advertise_address="127.0.0.1:9",
            metadata=[sd_pb.Metadata(key="draft.group", value="domain")]))
        next(stream)
        bearer = (("authorization", f"Bearer {identity.token.jwt}"),)

        def added():
            code, answer = status_of(lambda: fuse.add("", "/x", service="", metadata=bearer))
            return answer if code == "OK" and answer.code == OK else None
        answer = wait_for("a route without name and target", added)
        check(answer.name == "domain-unit", f"it is named after its service: {answer.name}")
        got = fuse.unary(f"{ROUTING}/GetRoute", routing_pb.GetRouteRequest(name="domain-unit"),
                         routing_pb.RouteState, metadata=bearer)
        check(got.route.targets[0].service == "unit", "and goes to it")
        reports.put(None)
        stream.cancel()


XDS_CLIENT = """
import grpc, sys
for _ in range(int(sys.argv[1])):
    with grpc.insecure_channel("xds:///echo", [("grpc.use_local_subchannel_pool", 1)]) as channel:
        speak = channel.unary_unary("/examples.echo.v1.EchoService/Speak")
        assert speak(b"\\x0a\\x02hi", timeout=20) == b"\\x12\\x02hi"
"""


def data_planes_are_programmed(running):
    cluster = running.cluster(1)
    echo = running.echo(cluster)
    edge, work = free_port(), workdir("edge")
    node = start_fuse(running, cluster, [
        f"--fuse.listener.port={edge}", "--fuse.haproxy.enabled=true", "--fuse.haproxy.stop=true",
        f"--fuse.haproxy.directory={work}"])
    fuse = Fuse(node.address)
    wait_for("echo's routes", lambda: "default-echo" in fuse.names())
    bootstrap = json.dumps({
        "xds_servers": [{"server_uri": node.address, "channel_creds": [{"type": "insecure"}],
                         "server_features": ["xds_v3"]}],
        "node": {"id": "unit", "cluster": "group"}})
    done = run([sys.executable, "-c", XDS_CLIENT, "50"],
               env={"GRPC_XDS_BOOTSTRAP_CONFIG": bootstrap})
    check(done.code == 0, f"gRPC's own client finds a service by xds:///, 50 times {done.err[-400:]}")

    def through():
        status, _, body = http(f"http://127.0.0.1:{edge}/examples.echo.v1.EchoService/Speak",
                               b'{"input":"hi"}', {"content-type": "application/json"})
        return status == 200 and json.loads(body)["output"] == "hi"
    wait_for("HAProxy to serve echo's route", through)
    proxies = fuse.unary(f"{ROUTING}/ListProxies", routing_pb.ListProxiesRequest(),
                         routing_pb.ListProxiesResponse)
    check([p.id for p in proxies.proxies] == ["haproxy"] and proxies.total == 1,
          "HAProxy is listed among the proxies")
    pid = next(e.pid for e in fuse.route("default-echo").targets[0].endpoints)
    waiting = []
    thread = threading.Thread(target=lambda: waiting.append(fuse.withdrawn(pid, 10000)))
    thread.start()
    echo.stop()
    thread.join()
    check(waiting == [True], "who leaves is told when no proxy sends to it any more")
    ends_well(node)
    check(http(f"http://127.0.0.1:{edge}/")[0] == 0, "HAProxy ends with its Fuse, if so configured")
    rmtree(work)


main(routes_have_a_life, why_a_request_goes_where_it_goes, watchers_see_every_change,
     a_slow_watcher_costs_nothing_and_catches_up, two_fuses_and_their_restarts_agree,
     blueprint_may_go_and_come, compaction_eats_no_history, who_leaves_is_awaited,
     what_happens_to_processes_has_a_revision,
     a_route_may_leave_out_who_it_is_from, data_planes_are_programmed)
