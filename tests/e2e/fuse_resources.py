#!/usr/bin/python3
"""gRPC's own xDS clients as judges of the resources Fuse makes: C core (python3-grpcio) and
@grpc/grpc-js-xds are given the resources of tests/unit/fuse_xds/showcase.c by the simplest of xDS
servers, must accept every one of them, and must send each call where the route says.

fuse_resources.py             the test
fuse_resources.py client      the C core client: calls as JSON in, their results as JSON out"""
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import threading

import grpc

HERE = pathlib.Path(__file__).resolve().parent
CALL_SECONDS = 20


def client():
    """Runs in a process of its own: where the xDS server is stands in the environment."""
    calls = json.load(sys.stdin)
    same = [lambda b: b, lambda b: b]
    with grpc.insecure_channel("xds:///echo") as channel:
        def run(call):
            try:
                return channel.unary_unary(call["path"], *same)(
                    b"", metadata=list(call["metadata"].items()), timeout=call["seconds"],
                    wait_for_ready=True).decode()
            except grpc.RpcError as error:
                return error.code().name
        json.dump([[run(call) for _ in range(call["times"])] for call in calls], sys.stdout)


if sys.argv[1:] == ["client"]:
    client()
    sys.exit()

sys.path.insert(0, str(HERE / "lib"))
from e2e import Failed, check, main, note, processes  # noqa: E402
from xds import xds_messages  # noqa: E402

TYPES = {
    "Cluster": "envoy.config.cluster.v3.Cluster",
    "ClusterLoadAssignment": "envoy.config.endpoint.v3.ClusterLoadAssignment",
    "Listener": "envoy.config.listener.v3.Listener",
    "RouteConfiguration": "envoy.config.route.v3.RouteConfiguration",
}
message = xds_messages()
Request = message("envoy.service.discovery.v3.DiscoveryRequest")
Response = message("envoy.service.discovery.v3.DiscoveryResponse")


class Backend(grpc.GenericRpcHandler):
    """Answers every call with its own name; some paths behave in their own way."""

    def __init__(self, name):
        self.name, self.tries, self.closing = name, {}, threading.Event()
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
        self.server.add_generic_rpc_handlers([self])
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(
            lambda _, context: self.answer(details.method, context))

    def answer(self, path, context):
        if path == "/demo.Demo/Retry":
            key = dict(context.invocation_metadata())["x-id"]
            self.tries[key] = self.tries.get(key, 0) + 1
            if self.tries[key] < 3:
                context.abort(grpc.StatusCode.UNAVAILABLE, "try again")
        if path == "/demo.Demo/Slow":
            self.closing.wait(CALL_SECONDS)
        return self.name.encode()

    def stop(self):
        self.closing.set()
        self.server.stop(0).wait()


class Control(grpc.GenericRpcHandler):
    """State of the World over ADS: what is asked for, once, and what the client says to it."""
    METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"

    def __init__(self, folder):
        self.resources = {}  # (type, name) -> bytes
        self.acked, self.refused, self.agents = set(), [], set()
        for path in pathlib.Path(folder).iterdir():
            kind = TYPES.get(path.name.split("@")[0])
            if kind is not None:
                decoded = message(kind).FromString(path.read_bytes())
                name = decoded.cluster_name if "LoadAssignment" in kind else decoded.name
                self.resources[kind, name] = path.read_bytes()
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        self.server.add_generic_rpc_handlers([self])
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def service(self, details):
        if details.method != self.METHOD:
            return None
        return grpc.stream_stream_rpc_method_handler(
            self.stream, request_deserializer=Request.FromString,
            response_serializer=Response.SerializeToString)

    def stream(self, requests, _context):
        asked = {}
        for request in requests:
            kind = request.type_url.split("/")[-1]
            names = set(request.resource_names)
            if request.HasField("node"):
                self.agents.add((request.node.user_agent_name, request.node.user_agent_version))
            if request.HasField("error_detail"):
                self.refused.append(f"{kind}: {request.error_detail.message}")
            elif request.response_nonce:
                self.acked |= {(kind, name) for name in asked[kind]}
            if asked.get(kind) == names:
                continue
            asked[kind] = names
            response = Response(version_info="1", nonce=kind + str(len(names)),
                                type_url=request.type_url)
            for name in sorted(names):
                if (kind, name) in self.resources:
                    response.resources.add(type_url=request.type_url,
                                           value=self.resources[kind, name])
            yield response

    def stop(self):
        self.server.stop(0).wait()


def call(path, metadata=None, times=1, seconds=CALL_SECONDS):
    return {"path": path, "metadata": metadata or {}, "times": times, "seconds": seconds}


# Who answers each.
PLAIN = [
    ("/demo.Demo/Exact", {}, "next"),
    ("/demo.Demo/Exactly", {}, "echo"),
    ("/demo.Other/Any", {}, "next"),
    ("/demo.Othe/Any", {}, "echo"),
    ("/demo.Demo/A12", {}, "next"),
    ("/demo.Demo/A1x", {}, "echo"),
    ("/demo.Demo/B", {}, "next"),
    ("/demo.Demo/Bx", {}, "echo"),
    ("/demo.Demo/Post", {}, "next"),
    ("/x.X/Y", {"x-exact": "1"}, "next"),
    ("/x.X/Y", {"x-exact": "12"}, "echo"),
    ("/x.X/Y", {"x-prefix": "abc"}, "next"),
    ("/x.X/Y", {"x-prefix": "cab"}, "echo"),
    ("/x.X/Y", {"x-suffix": "xyz"}, "next"),
    ("/x.X/Y", {"x-suffix": "yzx"}, "echo"),
    ("/x.X/Y", {"x-contains": "ab.cd"}, "next"),
    ("/x.X/Y", {"x-contains": "abxcd"}, "echo"),
    ("/x.X/Y", {"x-regex": "aa"}, "next"),
    ("/x.X/Y", {"x-regex": "bb"}, "next"),
    ("/x.X/Y", {"x-regex": "aab"}, "echo"),
    ("/x.X/Y", {"x-present": "v"}, "next"),
    ("/x.X/Y", {"x-gate": "color"}, "next"),
    ("/x.X/Y", {"x-gate": "color", "x-color": "blue"}, "next"),
    ("/x.X/Y", {"x-gate": "color", "x-color": "red"}, "echo"),
    ("/x.X/Y", {"x-gate": "absent"}, "next"),
    ("/x.X/Y", {"x-gate": "absent", "x-missing": "v"}, "echo"),
    ("/demo.Demo/Fixed", {}, "fixed"),
    ("/demo.Demo/Dns", {}, "fixed"),
    ("/demo.Demo/Retry", {"x-id": "one"}, "fixed"),
    ("/demo.Demo/Slow", {}, "DEADLINE_EXCEEDED"),
    ("/demo.Demo/Limits", {}, "next"),
]
USERS = 20
ASKED = {"Listener": 1, "RouteConfiguration": 1, "Cluster": 9, "ClusterLoadAssignment": 4}


def judge(name, command, agent, sticky):
    backends = [Backend(b) for b in ("echo", "next", "fixed")]
    folder = processes.workdir("xds-resources")
    subprocess.run([f"{processes.BIN}/fuse_xds_dump", folder, *(str(b.port) for b in backends),
                    *agent], check=True)
    control = Control(folder)
    calls = [call(path, metadata) for path, metadata, _ in PLAIN]
    calls += [call("/demo.Demo/Split", times=200), call("/demo.Demo/HashSource", None, 10, 2),
              call("/demo.Demo/HashCookie", None, 3, 2), call("/demo.Demo/HashQuery", None, 3, 2)]
    calls += [call("/demo.Demo/HashHeader", {"x-user": f"user-{u}"}, 3, 2) for u in range(USERS)]
    bootstrap = {"xds_servers": [{"server_uri": f"127.0.0.1:{control.port}",
                                  "channel_creds": [{"type": "insecure"}],
                                  "server_features": ["xds_v3"]}],
                 "node": {"id": "judge", "cluster": "edge", "locality": {}}}
    try:
        ran = subprocess.run(command, input=json.dumps(calls), capture_output=True, text=True,
                             timeout=200, check=False,
                             env=os.environ | {"GRPC_XDS_BOOTSTRAP_CONFIG": json.dumps(bootstrap)})
        check(not control.refused, f"{name} refuses nothing{control.refused or ''}")
        if ran.returncode != 0:
            raise Failed(f"{name} ended with {ran.returncode}: {ran.stderr[-2000:]}")
        verdict(name, control, json.loads(ran.stdout.splitlines()[-1]), sticky)
        check(control.agents == {agent}, f"{name} is {', '.join(agent)}")
    finally:
        for thing in [control, *backends]:
            thing.stop()
        processes.rmtree(folder)


def verdict(name, control, answers, sticky):
    wrong = [f"{path} {metadata}: {got[0]}, wanted {wanted}"
             for (path, metadata, wanted), got in zip(PLAIN, answers) if got != [wanted]]
    for line in wrong:
        note(line)
    check(not wrong, f"{name} sends {len(PLAIN)} calls where the routes say")
    split, *hashed = answers[len(PLAIN):]
    check(20 <= split.count("next") <= 80 and set(split) == {"echo", "next"},
          f"{name} splits 3 to 1 ({split.count('echo')} and {split.count('next')} of {len(split)})")
    # grpc-js 1.14 forgets a call that waits for the connection to another instance of a ring: until
    # its deadline, and at most one an instance and cluster.
    forgotten = sum(got.count("DEADLINE_EXCEEDED") for got in hashed)
    seen = [set(got) - {"DEADLINE_EXCEEDED"} for got in hashed]
    source, cookie, query, *users = seen
    check(forgotten <= (8 if sticky else 0) and all(got and got <= {"echo", "next"} for got in seen),
          f"{name} does without hash keys it cannot use ({len(cookie)} and {len(query)} instances)")
    if sticky:
        check(len(source) == 1, f"{name} stays with one instance by its own address")
        check(all(len(user) == 1 for user in users) and len(set.union(*users)) == 2,
              f"{name} sends each of {len(users)} users to an instance of its own")
    acked = {kind: sum(k == full for k, _ in control.acked) for kind, full in TYPES.items()}
    check(acked == ASKED, f"{name} accepted {acked}")


def c_core(_running):
    judge("C core", ["/usr/bin/python3", __file__, "client"],
          ("gRPC C-core linux Python", f"C-core 29.0.0 Python {grpc.__version__}"), sticky=False)


def grpc_js(_running):
    judge("grpc-js", [str(HERE / "clients/run.sh"), "xds_client.mjs"],
          ("gRPC Node Pure JS", "1.14.1"), sticky=True)


if __name__ == "__main__":
    main(c_core, grpc_js)
