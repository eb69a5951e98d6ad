#!/usr/bin/python3
"""The first command of the README: ./dev up with three nodes, one of them killed, ./dev down, and up
again with what was stored."""
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import check, dctl, main, processes, wait_for  # noqa: E402

ENDPOINT = "127.0.0.1:2231,127.0.0.1:2232,127.0.0.1:2233"
ENTRY = "http://127.0.0.1:8080/examples.echo.v1.EchoService/Speak"


def dev(*words):
    done = subprocess.run(["./dev", *words], cwd=processes.SOURCE, capture_output=True, text=True,
                          timeout=900, stdin=subprocess.DEVNULL, check=False)
    return done.returncode, done.stdout + done.stderr


class Down:
    """Whatever happens, nothing is left running."""

    def remove(self):
        dev("down")


def nodes():
    done = dctl(ENDPOINT, "cluster", "status", "-o", "json", "--timeout", "2s")
    return done.json() if done.code == 0 else None


def whole():
    state = nodes()
    return state if state and state["leader"] and all(
        n["role"] in ("leader", "follower") for n in state["nodes"]) else None


def by_entry():
    """The status of a request at the entry port; 0 when nobody listens there."""
    return processes.http(ENTRY, b'{"input":"hi"}', {"content-type": "application/json"})[0]


def a_stranger_types_one_command(running):
    running.add(Down())
    code, out = dev("up", "--no-install", "--nodes", "3", "--detach")
    check(code == 0, "./dev up --nodes 3 --detach ends well" + ("" if code == 0 else f": {out}"))
    for word in ("a short conversation", "by name", "by the entry", "by gRPC", "winner  echo-grpc",
                 "haproxy", "running", "worth trying", "blueprint-3"):
        check(word in out, f"it says '{word}'")
    state = wait_for("three nodes", whole)
    check(len(state["nodes"]) == 3, f"three nodes, led by {state['leader']}")
    listed = dctl(ENDPOINT, "services", "list").out
    check(all(name in listed for name in ("echo", "crud", "catalyst", "audit", "fuse")),
          "echo, crud, catalyst, audit and fuse are registered")
    check(by_entry() == 200, "echo is reached through the entry port")
    check(dctl(ENDPOINT, "kv", "set", "kept", "over a kill").code == 0, "a record is set")
    victim = next(n["pid"] for n in state["nodes"] if n["id"] == state["leader"])
    os.kill(victim, signal.SIGKILL)
    check(True, f"kill -9 {victim}, the leader")
    check(by_entry() == 200, "the entry port goes on")
    wait_for("the record", lambda: dctl(ENDPOINT, "kv", "get", "kept").out.strip() == "over a kill")
    back = wait_for("three nodes again", whole)
    check(victim not in [n["pid"] for n in back["nodes"]], "its place was taken by a new process")
    wait_for("echo by name", lambda: dctl(
        ENDPOINT, "call", "examples.echo.v1.EchoService/Speak", "-d", '{"input":"hi"}', "--service",
        "echo").code == 0)
    code, out = dev("down")
    check(code == 0 and "stopping" in out, "./dev down stops it")
    check(nodes() is None and by_entry() == 0, "nobody answers any more, nor at the entry port")
    code, out = dev("up", "--no-install", "--nodes", "3", "--detach")
    check(code == 0, "./dev up starts it again")
    check(dctl(ENDPOINT, "kv", "get", "kept").out.strip() == "over a kill",
          "with what was stored")
    check(by_entry() == 200, "and the entry port")
    check(dev("down")[0] == 0, "./dev down")
    code, out = dev("down")
    check("nothing was running" in out, "a second time there is nothing to stop")


main(a_stranger_types_one_command)
