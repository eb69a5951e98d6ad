"""A service and real Blueprints that are killed, forget everything or move; and callers that find
instances by name while those come and go."""
import json
import subprocess
import threading

import probe
from probe import Probe, expect, p


def processes(endpoint, name="probe"):
    """What Blueprint knows of a name: {pid: row}; None when it does not answer."""
    done = subprocess.run([f"{p.BIN}/dctl", "services", "list", "-o", "json", "--endpoint",
                           endpoint, "--timeout", "2s"], capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        return None
    rows = json.loads(done.stdout)
    rows = rows if isinstance(rows, list) else rows.get("services", rows.get("processes", []))
    return {row["pid"]: row for row in rows if row["name"] == name}


def in_use(row):
    return row["state"] == "running" and row["health"] == "healthy"


def registered(endpoint, but=(), name="probe", count=1):
    """The pids of healthy, running processes of a name, once there are that many."""
    def look():
        rows = processes(endpoint, name) or {}
        pids = sorted(pid for pid, row in rows.items() if in_use(row) and pid not in but)
        return pids if len(pids) == count else None
    return p.wait_for(f"{count} registered '{name}'", look, 60)


def metric(service, name):
    for line in p.http(service.url("/metrics"))[2].decode().splitlines():
        if line.startswith(name + " "):
            return float(line.split()[1])
    return None


def node_of(service):
    """The Blueprint node that the last report went to, as the log says."""
    node = None
    for line in service.output().splitlines():
        record = json.loads(line) if line.startswith("{") else {}
        if record.get("module") == "registry" and record.get("msg") == "registered":
            node = record["node"]
        elif record.get("module") == "registry" and "next" in record:
            node = record["next"]
    return node


def a_service_outlives_each_node_it_talks_to(things):
    cluster = p.Cluster(3)
    things.append(cluster)
    service = probe.started(Probe(f"--service.entrypoint={cluster.addresses[0]}",
                                  "--service.report_interval=200ms"), things)
    pids = registered(cluster.endpoint)
    for _ in range(3):
        victim = next(n for n in cluster.nodes if n.address == node_of(service))
        victim.kill()
        rest = ",".join(n.address for n in cluster.living())
        p.wait_for("another node", lambda v=victim: node_of(service) != v.address)
        p.wait_for("a report that is answered",
                   lambda: metric(service, "chassis_registry_registered") == 1)
        expect("identity after the loss of a node", registered(rest), pids)
        victim.start()
        p.wait_for("a leader", cluster.leader)


def a_service_registers_anew_where_it_is_forgotten(things):
    first = p.Cluster(1)
    things.append(first)
    service = probe.started(Probe(f"--service.entrypoint={first.endpoint}",
                                  "--service.report_interval=200ms"), things)
    old = registered(first.endpoint)
    first.nodes[0].kill()
    p.rmtree(first.nodes[0].data)
    first.nodes[0].start()
    new = registered(first.endpoint)
    assert new != old, "the same identity at a Blueprint that knows nothing of it"
    assert service.ready()


def a_service_follows_to_a_blueprint_elsewhere(things):
    first, second = p.Cluster(1), p.Cluster(1)
    things += [first, second]
    entrypoints = f"{first.endpoint},{second.endpoint}"
    service = probe.started(Probe(f"--service.entrypoint={entrypoints}",
                                  "--service.report_interval=200ms"), things)
    here = next(c for c in (first, second) if c.endpoint == p.wait_for(
        "registration", lambda: node_of(service)))
    there = second if here is first else first
    registered(here.endpoint)
    here.nodes[0].kill()
    registered(there.endpoint)


def callers_by_name_follow_instances_without_a_failed_call(things):
    cluster = p.Cluster(3)
    things.append(cluster)
    entrypoint = f"--service.entrypoint={cluster.endpoint}"
    caller = probe.started(Probe(entrypoint, "--probe.target=echo"), things)

    def echo():
        return probe.started(p.service("echo", [entrypoint]), things)

    echos = [echo()]
    registered(cluster.endpoint, name="echo")
    stop, failures, calls = threading.Event(), [], [0]

    def keep_calling():
        while not stop.is_set():
            answer = caller.json("call:hello")
            calls[0] += 1
            if answer != (200, {"output": "hello"}):
                failures.append(answer)

    threads = [threading.Thread(target=keep_calling, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        echos.append(echo())
        registered(cluster.endpoint, name="echo", count=2)
        leaving = echos.pop(0)
        expect("exit code of the one that leaves", leaving.stop(), 0)
        registered(cluster.endpoint, name="echo", count=1)
    stop.set()
    for thread in threads:
        thread.join(30)
    print(f"     {calls[0]} calls by name", flush=True)
    assert calls[0] > 100, calls
    expect("failed calls", failures, [])


probe.run([a_service_outlives_each_node_it_talks_to,
           a_service_registers_anew_where_it_is_forgotten,
           a_service_follows_to_a_blueprint_elsewhere,
           callers_by_name_follow_instances_without_a_failed_call])
