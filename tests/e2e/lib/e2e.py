"""What every end-to-end test shares: checks that print a line, dctl, and gRPC calls made with
Debian's python3-grpcio, a client nobody here wrote, over messages that protoc generates."""
import atexit
import contextlib
import importlib
import json
import os
import subprocess
import sys
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
import processes  # noqa: E402
from processes import Failed, wait_for  # noqa: E402

ALL = os.environ.get("DRAFT_ALL") == "1"
VALUE = "type.googleapis.com/core.registry.key_value.v1.Value"
PROTOS = ["core/registry/key_value/v1/key_value.proto", "draft/cluster/v1/cluster.proto",
          "core/registry/service_discovery/v1/service_discovery.proto",
          "core/consensus/raft/v1/raft.proto", "examples/echo/v1/echo.proto",
          "core/message_broker/actors/v1/actors.proto", "draft/events/v1/events.proto",
          "draft/routing/v1/policy.proto", "core/control_plane/networking/v1/networking.proto",
          "draft/routing/v1/routing.proto"]



def generate():
    """Python messages of our contracts, in a directory that goes with the test."""
    out = processes.workdir("protos")
    atexit.register(processes.rmtree, out)
    subprocess.run(["protoc", f"-I{processes.SOURCE}/proto", f"--python_out={out}", *PROTOS],
                   check=True)
    sys.path.insert(0, out)
    return [importlib.import_module(p.removesuffix(".proto").replace("/", ".") + "_pb2")
            for p in PROTOS]


(kv_pb, cluster_pb, sd_pb, raft_pb, echo_pb, actors_pb, events_pb, policy_pb, net_pb,
 routing_pb) = generate()
import grpc  # noqa: E402

# --- checks -------------------------------------------------------------------------------------


def check(condition, text):
    """One line per check; the first that fails ends the case."""
    if not condition:
        raise Failed(text)
    print(f"  ok   {text}", flush=True)


def note(text):
    print(f"       {text}", flush=True)


class Running:
    """What a case started; its logs are shown when it fails, and all of it ends with the case."""

    def __init__(self):
        self.things = []

    def add(self, thing):
        self.things.append(thing)
        return thing

    def cluster(self, nodes=3, flags=(), **options):
        made = self.add(processes.Cluster(nodes, flags, start=False, **options))
        made.start()
        return made

    def service(self, program, flags=(), **options):
        return self.add(processes.service(program, flags, **options)).start()

    def echo(self, cluster, flags=(), **options):
        entry = ",".join(f"http://{a}" for a in cluster.addresses)
        return self.service("echo", [f"--service.entrypoint={entry}",
                                     "--service.report_interval=500ms", *flags], **options)

    def show(self):
        for thing in self.things:
            if isinstance(thing, processes.Cluster):
                print(thing.tails())
            elif isinstance(thing, processes.Service):
                print(f"--- {thing.name} ({'alive' if thing.alive() else 'ended'})\n{thing.tail()}")

    def end(self):
        for thing in reversed(self.things):
            thing.remove()


def main(*cases):
    """Run the cases named on the command line, or all; the exit code is 1 when one failed."""
    wanted, failed = sys.argv[1:], []
    for case in cases:
        if wanted and case.__name__ not in wanted:
            continue
        print(case.__name__.replace("_", " "), flush=True)
        running, began = Running(), time.monotonic()
        try:
            case(running)
            note(f"{time.monotonic() - began:.1f} s")
        except BaseException as error:  # pylint: disable=broad-except
            failed.append(case.__name__)
            print(f"  FAIL {error if isinstance(error, Failed) else traceback.format_exc()}",
                  flush=True)
            if isinstance(error, Failed):
                at = traceback.extract_tb(error.__traceback__)
                print("       " + " < ".join(f"{os.path.basename(f.filename)}:{f.lineno}"
                                             for f in reversed(at)))
            running.show()
            if isinstance(error, KeyboardInterrupt):
                break
        finally:
            running.end()
    if failed:
        print(f"failed: {', '.join(failed)}")
    sys.exit(1 if failed else 0)


# --- dctl ---------------------------------------------------------------------------------------


class Done:
    """How a program ended and what it printed."""

    def __init__(self, done):
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    def json(self):
        return json.loads(self.out)


def run(argv, stdin=None, seconds=60, env=None, cwd=None):
    return Done(subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=seconds,
                               env={**os.environ, **(env or {})}, cwd=cwd, check=False))


def dctl(endpoint, *words, **options):
    where = ["--endpoint", endpoint] if endpoint else []
    return run([f"{processes.BIN}/dctl", *words, *where], **options)


# --- gRPC ---------------------------------------------------------------------------------------

CHANNEL = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.min_reconnect_backoff_ms", 2000),
           ("grpc.max_reconnect_backoff_ms", 500), ("grpc.use_local_subchannel_pool", 1),
           ("grpc.max_receive_message_length", 64 << 20),
           ("grpc.max_send_message_length", 64 << 20)]


def raw(message):
    return message if isinstance(message, bytes) else message.SerializeToString()


class Client:
    """A channel to one node, and its calls by name. Requests are messages or raw bytes."""

    def __init__(self, address, credentials=None, options=()):
        self.address = address
        options = CHANNEL + list(options)
        self.channel = (grpc.secure_channel(address, credentials, options) if credentials
                        else grpc.insecure_channel(address, options))

    def unary(self, method, request, answer, seconds=10.0, metadata=None):
        return self.channel.unary_unary(f"/{method}", raw, answer.FromString)(
            request, timeout=seconds, metadata=metadata)

    def server_stream(self, method, request, answer, seconds=None, metadata=None):
        return self.channel.unary_stream(f"/{method}", raw, answer.FromString)(
            request, timeout=seconds, metadata=metadata)

    def bidi(self, method, requests, answer, seconds=None, metadata=None):
        return self.channel.stream_stream(f"/{method}", raw, answer.FromString)(
            requests, timeout=seconds, metadata=metadata)

    def close(self):
        self.channel.close()

    # key_value
    KV = "core.registry.key_value.v1.KeyValueService"

    def set(self, key, text, expected=None, seconds=10.0, kind=VALUE, **options):
        request = kv_pb.SetRequest(key=key)
        request.value.type_url = kind
        request.value.value = text if isinstance(text, bytes) else plain(text)
        if expected is not None:
            request.expected_revision = expected
        return self.unary(f"{self.KV}/Set", request, kv_pb.SetResponse, seconds, **options)

    def get(self, key, seconds=10.0, **fields):
        request = kv_pb.GetRequest(key=key, **fields)
        request.value.type_url = VALUE
        return self.unary(f"{self.KV}/Get", request, kv_pb.GetResponse, seconds)

    def delete(self, key, seconds=10.0):
        request = kv_pb.DeleteRequest(key=key)
        request.value.type_url = VALUE
        return self.unary(f"{self.KV}/Delete", request, kv_pb.DeleteResponse, seconds)

    def records(self, prefix="", stale=False, page=1000):
        """{key: (text, Meta)} of all records under a prefix, page by page."""
        found, token, revision = {}, "", 0
        while True:
            request = kv_pb.ListRequest(key_prefix=prefix, limit=page, page_token=token,
                                        stale=stale)
            request.value.type_url = VALUE
            answer = self.unary(f"{self.KV}/List", request, kv_pb.ListResponse, 30.0)
            for key, value in answer.values.items():
                found[key] = (text_of(value), answer.metas[key])
            token, revision = answer.next_page_token, answer.revision
            if not token:
                return found, revision

    def watch(self, prefix="", start=0, seconds=None):
        request = kv_pb.WatchRequest(key_prefix=prefix, start_revision=start)
        request.kind.type_url = VALUE
        return self.server_stream(f"{self.KV}/Watch", request, kv_pb.WatchResponse, seconds)

    # service_discovery
    SD = "core.registry.service_discovery.v1.ServiceDiscoveryService"

    def processes(self, **filter_):
        request = sd_pb.QueryRequest(filter=sd_pb.Filter(**filter_))
        return self.unary(f"{self.SD}/Query", request, sd_pb.QueryResponse).data


def plain(text):
    return kv_pb.Value(data=text).SerializeToString()


def text_of(value):
    return kv_pb.Value.FromString(value.value).data


@contextlib.contextmanager
def client(address, **options):
    made = Client(address, **options)
    try:
        yield made
    finally:
        made.close()


def status_of(call):
    """(code name, message) of a call that fails; ("OK", answer) of one that does not."""
    try:
        return "OK", call()
    except grpc.RpcError as error:
        return error.code().name, error.details()


def refused(call, codes, words, text):
    """The call ends with one of the codes and a message that has all the words."""
    code, message = status_of(call)
    codes = codes if isinstance(codes, (list, tuple)) else [codes]
    words = words if isinstance(words, (list, tuple)) else [words]
    check(code in codes and all(w in str(message) for w in words),
          f"{text}: {code} ({str(message)[:160]!r})" if code in codes else
          f"{text}: {code} ({str(message)[:160]!r}), wanted {'/'.join(codes)}")
