#!/usr/bin/python3
"""Every verb of dctl against a running cluster: output in three forms, exit codes, endpoints,
values from files and standard input, calls by reflection, contexts, completion."""
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from e2e import Done, check, dctl, main, processes, run, wait_for  # noqa: E402

OK, FAILED, USAGE, NOT_FOUND, UNAVAILABLE = range(5)
DCTL = f"{processes.BIN}/dctl"


def one(running):
    cluster = running.cluster(1)
    return cluster, cluster.endpoint


def expect(done, code, text, out="", err=""):
    check(done.code == code and out in done.out and err in done.err,
          f"{text}: {done.code} {(done.out + done.err).strip()[:110]!r}" +
          ("" if done.code == code else f", wanted {code}"))
    return done


def is_yaml(text):
    """Our YAML is a block of `key: value` lines and dashes; JSON would begin with a bracket."""
    return bool(re.match(r"^(---\n)?(- )?[\w\"]+:", text)) or text.strip() == "[]"


def three_forms(endpoint, *words):
    """The table, the JSON object; and that YAML says the same names."""
    table = expect(dctl(endpoint, *words), OK, f"{' '.join(words)}, table")
    as_json = dctl(endpoint, *words, "-o", "json")
    tree = as_json.json()
    yaml = dctl(endpoint, *words, "-o", "yaml")
    check(as_json.code == yaml.code == 0 and is_yaml(yaml.out),
          f"{' '.join(words)}: JSON and YAML parse")
    names = re.findall(r'"(\w+)":', as_json.out)
    check(all(f"{n}" in yaml.out for n in names), f"{' '.join(words)}: YAML has the same names")
    return table.out, tree


def kv(running):
    cluster, at = one(running)
    expect(dctl(at, "kv", "get", "color"), NOT_FOUND, "get of what is not there", err="color")
    expect(dctl(at, "kv", "set", "color", "blue"), OK, "set")
    done = expect(dctl(at, "kv", "get", "color"), OK, "get")
    check(done.out == "blue\n", f"get prints the text alone: {done.out!r}")
    tree = dctl(at, "kv", "get", "color", "-o", "json").json()
    revision = int(tree["meta"]["revision"] if "meta" in tree else tree["revision"])
    expect(dctl(at, "kv", "cas", "color", str(revision), "green"), OK, "cas at the right revision")
    expect(dctl(at, "kv", "cas", "color", str(revision), "red"), FAILED, "cas at an old one",
           err="revision")
    expect(dctl(at, "kv", "cas", "color", "0", "red"), FAILED, "cas: must not exist")
    expect(dctl(at, "kv", "get", "color", "--at", str(revision)), OK, "get at a revision", "blue")
    expect(dctl(at, "kv", "get", "color", "--stale"), OK, "get --stale", "green")
    for i in range(12):
        dctl(at, "kv", "set", f"list/{i:02}", str(i))
    table, tree = three_forms(at, "kv", "list", "list/")
    check(all(f"list/{i:02}" in table for i in range(12)), "the table has all twelve")
    done = dctl(at, "kv", "list", "list/", "--page", "5", "--keys")
    check(done.out.split() == ["KEY"] + [f"list/{i:02}" for i in range(12)], "pages of 5 give all, in order")
    check(len(dctl(at, "kv", "list", "list/", "-n", "3", "--keys", "-o",
                   "json").json()) == 3, "-n 3")
    three_forms(at, "kv", "get", "color")
    three_forms(at, "kv", "set", "color", "blue")
    expect(dctl(at, "kv", "txn", "--if", "color exists", "--then", "set a 1", "--then",
                "del list/00", "--else", "get color"), OK, "txn whose condition holds")
    expect(dctl(at, "kv", "get", "a"), OK, "it set one", "1")
    expect(dctl(at, "kv", "get", "list/00"), NOT_FOUND, "and deleted the other")
    tree = dctl(at, "kv", "txn", "--if", "color missing", "--then", "set a 2", "--else",
                "get color", "-o", "json").json()
    check(tree["succeeded"] is False and dctl(at, "kv", "get", "a").out == "1\n",
          "txn whose condition does not hold takes the other branch")
    expect(dctl(at, "kv", "txn", "--if", "color what"), USAGE, "txn with a bad condition")
    path = f"{cluster.directory}/value"
    text = "two\nlines ☺"
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    expect(dctl(at, "kv", "set", "file", f"@{path}"), OK, "a value from a file")
    check(dctl(at, "kv", "get", "file").out.rstrip("\n") == text, "comes back as it was")
    expect(dctl(at, "kv", "set", "in", "-", stdin=text), OK, "a value from standard input")
    check(dctl(at, "kv", "get", "in").out.rstrip("\n") == text, "comes back as it was")
    expect(dctl(at, "kv", "set", "x", "@/no/such/file"), USAGE, "a file that is not there",
           err="/no/such/file")
    kind = "examples.crud.v1.Name"
    expect(dctl(at, "kv", "set", "route", '{"id":"1","firstName":"Ada"}', "-t",
                kind), OK, "a message as JSON")
    got = dctl(at, "kv", "get", "route", "-t", kind)
    check(json.loads(got.out)["firstName"] == "Ada", f"comes back as JSON: {got.out.strip()}")
    expect(dctl(at, "kv", "set", "route", '{"nme":"r"}', "-t", kind), USAGE,
           "a field the message does not have", err="nme")
    expect(dctl(at, "kv", "del", "color"), OK, "del")
    expect(dctl(at, "kv", "del", "color"), NOT_FOUND, "del again")


def watches(running):
    cluster, at = one(running)
    first = dctl(at, "kv", "set", "w/0", "zero", "-o", "json").json()
    revision = str(first["meta"]["revision"] if "meta" in first else first["revision"])
    with subprocess.Popen([DCTL, "kv", "watch", "w/", "--from", revision, "-n", "4", "-o", "json",
                           "--endpoint", at], stdout=subprocess.PIPE, text=True) as watch:
        lines = [json.loads(watch.stdout.readline())]
        dctl(at, "kv", "set", "w/1", "one")
        lines.append(json.loads(watch.stdout.readline()))
        cluster.nodes[0].kill()
        cluster.nodes[0].start()
        dctl(at, "kv", "del", "w/0")
        dctl(at, "kv", "set", "other", "x")
        dctl(at, "kv", "set", "w/2", "two")
        lines += [json.loads(watch.stdout.readline()) for _ in range(2)]
        code = watch.wait(20)
    check([line["key"] for line in lines] == ["w/0", "w/1", "w/0", "w/2"] and code == 0,
          "kv watch --from shows all changes in order, over a killed server, and ends after -n 4")
    with subprocess.Popen([DCTL, "services", "watch", "--name", "echo", "-o", "json",
                           "--endpoint", at], stdout=subprocess.PIPE, text=True) as watch:
        running.echo(cluster)
        line = next((line for line in watch.stdout if "echo" in line), "")
        watch.terminate()
    check('"JOINED"' in line, f"services watch shows echo coming: {line.strip()[:80]!r}")


def services_and_cluster(running):
    cluster = running.cluster(3)
    at = cluster.endpoint
    echo = running.echo(cluster)
    wait_for("echo in the list", lambda: "echo" in dctl(at, "services", "list").out)
    table, _ = three_forms(at, "services", "list")
    check(echo.address in table, "services list shows where echo listens")
    three_forms(at, "services", "get", "echo")
    expect(dctl(at, "services", "get", "nobody"), NOT_FOUND, "services get of nobody", err="nobody")
    rpc = "examples.echo.v1.EchoService"
    wait_for("the RPC services of echo",
             lambda: "echo" in dctl(at, "services", "list", "--rpc", rpc).out)
    check("echo" not in dctl(at, "services", "list", "--rpc", "no.Such").out, "--rpc filters")
    _, tree = three_forms(at, "cluster", "status")
    check(set(tree["nodes"][0]) >= {"id", "address", "role", "pid", "applied", "rss_bytes"} and
          sorted(n["role"] for n in tree["nodes"]) == ["follower", "follower", "leader"] and
          {n["pid"] for n in tree["nodes"]} == {n.server.pid for n in cluster.nodes},
          "cluster status has the agreed fields, one leader, the right pids")
    leader = next(n["id"] for n in tree["nodes"] if n["role"] == "leader")
    check(leader in str(tree["leader"]) or tree["leader"], f"and says who leads: {tree['leader']}")
    # calls by reflection
    done = expect(dctl(echo.address, "call", f"{rpc}/Speak", "-d", '{"input":"hi"}'), OK,
                  "call by its full name", "hi")
    check("hi" in json.loads(done.out)["output"], "the answer is JSON")
    expect(dctl(echo.address, "call", "EchoService/Speak", "-d", '{"input":"hi"}'), OK,
           "call by a short name", "hi")
    expect(dctl(echo.address, "call", "--list"), OK, "call --list", rpc)
    expect(dctl(echo.address, "call", rpc, "--list"), OK, "methods of a service", "Speak")
    expect(dctl(at, "call", f"{rpc}/Speak", "-d", '{"input":"by name"}', "--service", "echo"), OK,
           "call of a service by its name in the registry", "by name")
    expect(dctl(echo.address, "call", f"{rpc}/Speak", "-d", "-", stdin='{"input":"in"}'), OK,
           "a request from standard input", "in")
    expect(dctl(echo.address, "call", f"{rpc}/Speak", "-d", '{"inpt":"x"}'), FAILED,
           "a request with an unknown field", err="inpt")
    expect(dctl(echo.address, "call", f"{rpc}/Shout"), NOT_FOUND, "a method there is not",
           err="Shout")
    kind = '"value":{"@type":"type.googleapis.com/core.registry.key_value.v1.Value"%s}'
    key_value = "core.registry.key_value.v1.KeyValueService"
    expect(dctl(at, "call", f"{key_value}/Set", "-d", '{"key":"c",%s}' % (kind % ',"data":"d"')),
           OK, "Set with an Any")
    with subprocess.Popen([DCTL, "call", f"{key_value}/Watch", "-d",
                           '{"kind":{"@type":"type.googleapis.com/core.registry.key_value.v1.Value"'
                           '},"startRevision":"1"}', "--endpoint", at], stdout=subprocess.PIPE,
                          text=True) as stream:
        check('"c"' in stream.stdout.readline(), "a stream called by reflection prints messages")
        stream.terminate()
    done = dctl(at, "call", "core.registry.service_discovery.v1.ServiceDiscoveryService/Synchronize",
                "-d", '{"pid":"x","token":"y","runningState":"PROCESS_RUNNING"}')
    expect(done, FAILED, "a stream both ways that is refused", err="Synchronize")


def where_it_connects_to(running):
    cluster = running.cluster(3)
    dead, alive = cluster.nodes[0], cluster.nodes[1:]
    dead.kill()
    wait_for("a leader", cluster.leader)
    expect(dctl(cluster.endpoint, "kv", "set", "a", "1"), OK, "a list whose first node is dead")
    expect(dctl(dead.address, "kv", "get", "a", "--timeout", "2s"), UNAVAILABLE,
           "a node that is dead", err=dead.address)
    expect(dctl(None, "kv", "get", "a", env={"DRAFT_ENDPOINT": alive[0].address}), OK,
           "DRAFT_ENDPOINT", "1")
    for words in (["kv"], ["kv", "sett"], ["kv", "set", "a"], ["kv", "get", "a", "--nonsense"],
                  ["kv", "get", "a", "-o", "xml"], ["kv", "get", "a", "--timeout", "soon"], [],
                  ["kv", "get", "a", "b"], ["nonsense"]):
        expect(dctl(None, *words), USAGE, f"usage: dctl {' '.join(words)}")
    home = {"HOME": cluster.directory, "XDG_CONFIG_HOME": f"{cluster.directory}/config"}
    project = f"{cluster.directory}/project"
    os.makedirs(f"{project}/below")

    def context(*words, cwd=None):
        return dctl(None, *words, env=home, cwd=cwd or cluster.directory)
    expect(context("context", "init", project), OK, "context init")
    check(os.path.exists(f"{project}/draft.yaml"), "made a draft.yaml")
    with open(f"{project}/draft.yaml", encoding="utf-8") as f:
        made = f.read()
    with open(f"{project}/draft.yaml", "w", encoding="utf-8") as f:
        f.write(re.sub("(?m)^endpoint:.*$", f"endpoint: [{alive[0].address}, {alive[1].address}]",
                       made))
    expect(context("kv", "get", "a", cwd=f"{project}/below"), OK, "found from a folder below", "1")
    other = f"{cluster.directory}/other"
    os.makedirs(other)
    with open(f"{other}/draft.yaml", "w", encoding="utf-8") as f:
        f.write(f"name: other\nendpoint: [{alive[1].address}]\n")
    expect(context("context", "import", other), OK, "context import")
    expect(context("context", "set", "other"), OK, "context set")
    expect(context("context", "list"), OK, "context list", "other")
    expect(context("kv", "get", "a"), OK, "the default context", "1")
    expect(context("kv", "get", "a", "--context", "project"), OK, "--context", "1")
    done = context("kv", "get", "a", "--context", "none")
    check(done.code in (FAILED, USAGE, NOT_FOUND) and "none" in done.err,
          f"--context of a name there is not: {done.code} {done.err.strip()}")


def colours_and_completion(running):
    _, at = one(running)
    dctl(at, "kv", "set", "a", "1")

    def on_a_terminal(**env):
        words = f"{DCTL} cluster status --endpoint {at}"
        return run(["script", "-qec", words, "/dev/null"], env={"TERM": "xterm", **env}).out
    check("\x1b" not in dctl(at, "cluster", "status").out, "no colours in a pipe")
    check("\x1b" not in on_a_terminal(NO_COLOR="1"), "no colours with NO_COLOR on a terminal")
    for shell, words in (("bash", ["bash", "-n"]), ("zsh", ["zsh", "-n"]),
                         ("fish", ["fish", "--no-execute"])):
        script = dctl(None, "completion", shell)
        path = f"{processes.TMP}/completion.{shell}"
        with open(path, "w", encoding="utf-8") as f:
            f.write(script.out)
        done: Done = run([*words, path])
        os.unlink(path)
        check(script.code == 0 and len(script.out) > 200 and done.code == 0,
              f"completion {shell} parses {done.err.strip()}")
    expect(dctl(None, "version"), OK, "version")
    expect(dctl(None, "help"), OK, "help", "kv set")
    expect(dctl(None, "docs"), OK, "docs", "cluster transfer")
    check(len(dctl(None, "version", "-o", "json").json()) > 0, "version as JSON")


main(kv, watches, services_and_cluster, where_it_connects_to, colours_and_completion)
