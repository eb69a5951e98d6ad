"""What the service manager hears (sd_notify), what /loglevel changes, what secrets stores give, what
/metrics shows: one running process each."""
import os
import signal
import socket
import subprocess

import probe
from probe import Probe, expect, expect_in, p


class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, things, abstract=False):
        self.directory = p.workdir("manager")
        path = f"draft-{os.getpid()}" if abstract else f"{self.directory}/notify"
        self.address = ("@" if abstract else "") + path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + path if abstract else path)
        self.socket.settimeout(20)
        self.heard = []
        things.append(self)

    def wait(self, wanted):
        """Listen until something is said; where in the order it was."""
        while wanted not in self.heard:
            self.heard += self.socket.recv(4096).decode().split("\n")
        return self.heard.index(wanted)

    def tail(self, _):
        return f"heard: {self.heard}"

    def remove(self):
        self.socket.close()
        p.rmtree(self.directory)


def it_says_ready_then_stopping(things):
    for abstract in (False, True):
        manager = Manager(things, abstract)
        service = probe.started(Probe(env={"NOTIFY_SOCKET": manager.address}), things)
        ready = manager.wait("READY=1")
        assert "WATCHDOG=1" not in manager.heard, manager.heard
        expect("exit code", service.stop(), 0)
        assert manager.wait("STOPPING=1") > ready, manager.heard


def it_beats_the_watchdog_while_its_loop_runs(things):
    manager = Manager(things)
    service = probe.started(Probe(env={"NOTIFY_SOCKET": manager.address,
                                       "WATCHDOG_USEC": "200000"}), things)
    for _ in range(4):
        manager.wait("WATCHDOG=1")
        manager.heard.remove("WATCHDOG=1")
    service.server.process.send_signal(signal.SIGSTOP)
    try:  # a process that hangs is silent: its manager will notice
        manager.socket.settimeout(1)
        while True:
            manager.socket.recv(4096)
    except TimeoutError:
        pass
    service.server.process.send_signal(signal.SIGCONT)
    manager.socket.settimeout(20)
    manager.wait("WATCHDOG=1")


def a_watchdog_of_another_process_is_left_alone(things):
    manager = Manager(things)
    service = probe.started(Probe(env={"NOTIFY_SOCKET": manager.address, "WATCHDOG_PID": "1",
                                       "WATCHDOG_USEC": "20000"}), things)
    manager.wait("READY=1")
    service.stop()
    manager.wait("STOPPING=1")
    assert "WATCHDOG=1" not in manager.heard, manager.heard


def a_boot_that_fails_never_says_ready(things):
    manager = Manager(things)
    service = Probe("--service.network.bind_address=203.0.113.1", "--service.network.plaintext=true",
                    env={"NOTIFY_SOCKET": manager.address})
    things.append(service)
    service.spawn()
    expect("exit code", service.server.process.wait(20), 1)
    expect_in("which stage", "listen: ", service.output())
    manager.socket.setblocking(False)
    try:
        manager.wait("READY=1")
    except BlockingIOError:
        pass
    assert "READY=1" not in manager.heard, manager.heard


def levels_change_while_it_runs(things):
    service = probe.started(Probe(), things)
    admin = f"http://127.0.0.1:{service.ports['admin']}/loglevel"

    def records():
        service.json("log:")
        return service.output().count("a debug record")

    expect("debug records at first", records(), 0)
    expect("set", p.http(admin + "?module=probe&level=debug", b"", method="POST")[0], 200)
    expect("debug records then", records(), 1)
    expect("set back", p.http(admin + "?module=probe&level=info", b"", method="POST")[0], 200)
    expect("debug records afterwards", records(), 1)
    status, _, text = p.http(admin + "?level=loud", b"", method="POST")
    expect("status of a wrong level", status, 400)
    expect_in("its text", "trace, debug, info", text.decode())
    expect("a page of another site", p.http(admin + "?level=debug", b"",
                                            {"Origin": "http://evil.example"}, method="POST")[0],
           403)
    expect("on the public address", p.http(service.url("/loglevel?level=debug"), b"",
                                           method="POST")[0], 404)


def a_log_nobody_reads_costs_records_not_the_service(things):
    service = Probe("--service.logging.level=trace", "--service.logging.format=json")
    things.append(service)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    os.makedirs(service.directory, exist_ok=True)
    service.server = p.Server(["true"])
    service.server.process.wait()
    service.server.process = subprocess.Popen(service.argv(), cwd=service.directory, stderr=writer,
                                              stdout=subprocess.DEVNULL)
    os.close(writer)
    service.listening().wait_ready()
    for _ in range(400):  # 64 KiB are soon full
        expect("answer", service.json("hello")[0], 200)
    seen = b""
    while b"records were lost" not in seen:
        seen += os.read(reader, 65536)
        service.json("hello")
    line = next(l for l in seen.splitlines() if b"records were lost" in l)
    expect_in("the note", b'"records":', line)
    os.close(reader)
    for _ in range(20):  # and a reader that is gone is no SIGPIPE
        expect("answer", service.json("hello")[0], 200)
    expect("exit code", service.stop(), 0)


def secrets_come_from_files_and_the_environment(things):
    folder = p.workdir("secrets")
    service = Probe(f"--secrets.files.url=file://{folder}", "--secrets.variables.url=env:TEST_S_",
                    env={"TEST_S_TOKEN": "from the environment"}, directory=folder)
    service.own_directory = True
    for name, mode in (("password", 0o600), ("open", 0o644)):
        with open(f"{folder}/{name}", "w", encoding="ascii") as f:
            f.write("from a file")
        os.chmod(f"{folder}/{name}", mode)
    probe.started(service, things)
    expect("a file", service.json("secret:password"), (200, {"output": "from a file"}))
    expect("a variable", service.json("secret:TOKEN"), (200, {"output": "from the environment"}))
    status, answer = service.json("secret:open")
    assert status != 200 and "chmod" in answer["message"], answer
    expect("one that nobody has", service.json("secret:missing")[0], 404)
    for name in ("../probe.log", "/etc/hostname", ""):
        assert service.json(f"secret:{name}")[0] != 200, name
    assert "from a file" not in service.output() + str(answer), "a secret in the log"


def metrics_are_clean_and_complete(things):
    cluster = p.Cluster(1, ["--service.logging.level=info"])
    things.append(cluster)
    entrypoint = f"--service.entrypoint={cluster.endpoint}"
    services = [Probe(entrypoint), p.service("echo", [entrypoint]), p.service("crud", [entrypoint])]
    common = ["process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds",
              "draft_rpc_server_", "chassis_http_requests_total", "chassis_http_connections"]
    wanted = {"blueprint": common + ["consensus", "journal"]}
    for service in services:
        probe.started(service, things)
        wanted[service.name] = common + ["chassis_registry_registered"]
    for service in [*cluster.nodes, *services]:
        text = p.http(service.url("/metrics"))[2]
        done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True,
                              check=False)
        expect(f"promtool of {service.program}", (done.returncode, done.stdout + done.stderr),
               (0, b""))
        for name in wanted["blueprint" if service in cluster.nodes else service.name]:
            expect_in(f"metrics of {service.program}", name, text.decode())


probe.run([it_says_ready_then_stopping, it_beats_the_watchdog_while_its_loop_runs,
           a_watchdog_of_another_process_is_left_alone, a_boot_that_fails_never_says_ready,
           levels_change_while_it_runs, a_log_nobody_reads_costs_records_not_the_service,
           secrets_come_from_files_and_the_environment, metrics_are_clean_and_complete])
