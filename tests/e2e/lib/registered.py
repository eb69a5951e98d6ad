"""Processes registered by hand: what Blueprint knows of them is what the test reports."""
import queue
import secrets

from e2e import Client, sd_pb

SD = Client.SD
STARTING, RUNNING = 1, 3
HEALTHY, UNHEALTHY = 1, 2


class Registered:
    """A process that is running and healthy at `address` until it reports otherwise."""

    def __init__(self, registry, name, address, **fields):
        identity = registry.unary(
            f"{SD}/Initialize", sd_pb.InitializeRequest(name=name, nonce=secrets.token_hex(16)),
            sd_pb.InitializeResponse).process_identity
        self.registry, self.pid, self.token = registry, identity.pid, identity.token.jwt
        self.fields = {"pid": identity.pid, "running_state": RUNNING, "health_state": HEALTHY,
                       "process_kind": 1, "token": identity.token.jwt,
                       "advertise_address": address, **fields}
        self.reports = queue.Queue()
        self.stream = registry.bidi(f"{SD}/Synchronize", iter(self.reports.get, None),
                                    sd_pb.ClusterDetails)
        self.report()

    def report(self, **fields):
        self.fields.update(fields)
        self.reports.put(sd_pb.ClientDetails(**self.fields))
        return next(self.stream)

    def healthy(self, healthy):
        self.report(health_state=HEALTHY if healthy else UNHEALTHY)

    def leave(self):
        self.registry.unary(f"{SD}/Finalize", sd_pb.FinalizeRequest(pid=self.pid),
                            sd_pb.FinalizeResponse,
                            metadata=(("authorization", f"Bearer {self.token}"),))
        self.reports.put(None)
