"""What the programs say about their configuration."""
import os
import re
import subprocess

import probe
from probe import expect, expect_in, p

PROGRAMS = ("blueprint", "echo", "crud", "probe_service")


def ask(program, *flags, cwd="/", env=None):
    """(exit code, standard output, standard error)"""
    done = subprocess.run([f"{p.BIN}/{program}", *flags], capture_output=True, text=True, cwd=cwd,
                          env={**os.environ, **(env or {})}, check=False, timeout=20)
    return done.returncode, done.stdout, done.stderr


class Folder:
    def __init__(self, things, text):
        self.path = p.workdir("config")
        with open(f"{self.path}/config.yaml", "w", encoding="utf-8") as f:
            f.write(text)
        things.append(self)

    def tail(self, _):
        return ""

    def remove(self):
        p.rmtree(self.path)


def every_mistake_is_told_at_once_with_its_line(things):
    folder = Folder(things, """service:
  netwrk:
    bind_port: 1
  network:
    bind_port: 99999
    http_prot: 1
  drain_grace: fast
""")
    code, _, text = ask("echo", "--check-config", "--service.workers=none", cwd=folder.path,
                        env={"DRAFT_SERVICE_LOGGING_LEVL": "info"})
    expect("exit code", code, 2)
    for wanted in (r"config.yaml:3: .*service.netwrk.*did you mean 'service.network'",
                   r"config.yaml:5: service.network.bind_port.*0 to 65535",
                   r"config.yaml:6: .*http_prot.*did you mean 'service.network.http_port'",
                   r"config.yaml:7: service.drain_grace.*500ms",
                   r"DRAFT_SERVICE_LOGGING_LEVL.*DRAFT_SERVICE_LOGGING_LEVEL",
                   r"--service.workers: .*none"):
        assert re.search(wanted, text), f"{wanted} is not in:\n{text}"


def keys_that_do_not_fit_one_another_are_told_with_their_line(things):
    folder = Folder(things, "raft:\n  heartbeat: 900ms\n  members: [a, b@c:1]\n")
    code, _, text = ask("echo", "--check-config", "--service.network.tls.key=/k", cwd=folder.path)
    expect("exit code", code, 2)
    expect_in("heartbeat", "config.yaml:2: raft.heartbeat", text)
    expect_in("members", "config.yaml:3: raft.members: 'a' must be name@host:port", text)
    expect_in("certificate", "certificate and key belong together", text)


def what_is_printed_loads_again_as_the_same(things):
    folder = Folder(things, "service:\n  name: 'a: \"b\" #c'\n  entrypoint: [http://x:1, y:2]\n")
    for program in PROGRAMS:
        code, first, text = ask(program, "--print-config", "--service.drain_grace=90s",
                                cwd=folder.path)
        expect(f"exit code of {program}: {text}", code, 0)
        expect_in("origin of a flag", "# --service.drain_grace", first)
        with open(f"{folder.path}/printed.yaml", "w", encoding="utf-8") as f:
            f.write(first)
        expect("it checks", ask(program, "--check-config", "--config", "printed.yaml",
                                cwd=folder.path)[0], 0)
        second = ask(program, "--print-config", "--config", "printed.yaml", cwd=folder.path)[1]

        def values(text):
            return [re.sub(r"  # \S+$", "", line) for line in text.splitlines()]
        expect(f"what {program} prints the second time", values(second), values(first))


def help_is_grouped_and_lists_every_key(things):
    for program in PROGRAMS:
        code, text, _ = ask(program, "--help")
        expect("exit code", code, 0)
        for group in ("service", "service.logging", "service.network", "raft"):
            expect(f"headings '{group}' in the help of {program}",
                   text.splitlines().count(group), 1)
        printed = ask(program, "--print-config")[1]
        for key in re.findall(r"^([a-z][^:\s]*):", printed, re.M):
            expect_in(f"help of {program}", f"--{key} <", text)


def an_unknown_flag_is_told_the_nearest(things):
    for flag, nearest in (("--service.network.bind_prot=1", "service.network.bind_port"),
                          ("--hepl", "--help"), ("--chekc-config", "--check-config"),
                          ("--raft.node_id=x", "raft.node-id")):
        code, _, text = ask("blueprint", flag)
        expect(f"exit code of {flag}", code, 2)
        expect_in(flag, f"did you mean '{nearest}'", text)


probe.run([every_mistake_is_told_at_once_with_its_line,
           keys_that_do_not_fit_one_another_are_told_with_their_line,
           what_is_printed_loads_again_as_the_same, help_is_grouped_and_lists_every_key,
           an_unknown_flag_is_told_the_nearest])
