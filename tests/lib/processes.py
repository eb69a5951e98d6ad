"""Draft's programs as processes, for tests and benchmarks: workplaces, free ports, waiting on
conditions, services, and Blueprint clusters of one or three nodes on loopback."""
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

BIN = os.environ["DRAFT_BIN"]
SOURCE = os.environ["DRAFT_SOURCE"]
TMP = os.environ["DRAFT_TMP"]
TICK = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """What was wanted did not happen."""


def workdir(name):
    os.makedirs(TMP, exist_ok=True)
    return tempfile.mkdtemp(prefix=f"{name}-", dir=TMP)


def rmtree(path):
    shutil.rmtree(path, ignore_errors=True)


CLAIMS = []  # sockets whose names say which ports this process uses


def free_port():
    """One below the range from which the kernel serves port 0 and connections: nobody is given it
    between here and its use, nor while the process that has it is restarted. Claimed against other
    tests until this process ends."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
        first = int(f.read().split()[0])
    first = first if first > 12000 else 32768
    while True:
        port = random.randrange(10000, first)
        claim, probe = socket.socket(socket.AF_UNIX), socket.socket()
        try:
            claim.bind(f"\0draft-test-port-{port}")
            probe.bind(("127.0.0.1", port))
            CLAIMS.append(claim)
            return port
        except OSError:
            claim.close()
        finally:
            probe.close()


def free_ports(n):
    return [free_port() for _ in range(n)]


def pause(seconds):
    """Between two polls, and while something idle is measured."""
    threading.Event().wait(seconds)


def wait_for(what, condition, seconds=30.0, every=0.01):
    """Poll a condition; what is waited for is named when it never comes."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        pause(every)
    raise Failed(f"{what} did not happen within {seconds:g} s")


class Server:
    """A process whose CPU and memory can be measured. With a log its output goes there."""

    def __init__(self, argv, cwd=None, env=None, log=None):
        self.argv, self.log = argv, log
        out = open(log, "ab") if log else None
        self.process = subprocess.Popen(argv, cwd=cwd, env=env, stdout=out or subprocess.PIPE,
                                        stderr=out)
        if out:
            out.close()

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process.poll() is None

    def first_line(self):
        return self.process.stdout.readline().decode().strip()

    def cpu_s(self):
        """User and system time of the process, its ended threads included."""
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory(self):
        values = {}
        with open(f"/proc/{self.pid}/status", encoding="ascii") as f:
            for line in f:
                if line.startswith(("VmRSS", "RssAnon")):
                    name, value = line.split(":")
                    values[name] = int(value.split()[0]) * 1024
        return values

    def stop(self, how=signal.SIGTERM, seconds=20):
        """The exit code, negative after a signal."""
        if self.alive():
            self.process.send_signal(how)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode

    def tail(self, lines=15, width=400):
        """The last lines of the log, long ones cut."""
        try:
            with open(self.log, encoding="utf-8", errors="replace") as f:
                return "\n".join(line.rstrip()[:width] for line in f.readlines()[-lines:])
        except (OSError, TypeError):
            return ""


def http(url, data=None, headers=None, seconds=5.0, method=None):
    """(status, headers, body); status 0 when nobody answers."""
    request = urllib.request.Request(url, data=data, headers=headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()
    except OSError:
        return 0, {}, b""


class Service:
    """One service of the chassis on free ports, with its own directory; kept over restarts."""

    def __init__(self, name, flags=(), directory=None, ports=None, env=None):
        self.name = name
        self.directory = directory or workdir(name)
        self.own_directory = directory is None
        self.data = f"{self.directory}/{name}"
        self.port_file = f"{self.directory}/{name}.ports"
        self.log = f"{self.directory}/{name}.log"
        self.flags, self.env, self.server = list(flags), env, None
        self.ports = {"rpc": free_port(), "http": free_port()} | (ports or {})
        self.program = "blueprint"

    def argv(self):
        return [f"{BIN}/{self.program}",
                f"--service.network.bind_port={self.ports['rpc']}",
                f"--service.network.http_port={self.ports['http']}",
                "--service.network.admin_port=0",
                f"--service.network.port_file={self.port_file}",
                f"--service.data_directory={self.data}", *self.flags]

    def spawn(self, extra=()):
        """Start without waiting."""
        if os.path.exists(self.port_file):
            os.unlink(self.port_file)
        self.server = Server(self.argv() + list(extra), cwd=self.directory, log=self.log,
                             env=self.env and {**os.environ, **self.env})
        return self

    def read_ports(self):
        if not self.server.alive():
            raise Failed(f"{self.name} ended with {self.server.process.returncode}")
        try:
            with open(self.port_file, encoding="ascii") as f:
                return json.load(f)
        except (OSError, ValueError):
            return None

    def listening(self, seconds=30.0):
        self.ports = wait_for(f"port file of {self.name}", self.read_ports, seconds)
        return self

    def start(self, seconds=30.0):
        """Start and wait until it says that it is ready."""
        return self.spawn().listening(seconds).wait_ready(seconds)

    def wait_ready(self, seconds=30.0):
        wait_for(f"readiness of {self.name}", self.ready, seconds)
        return self

    def ready(self):
        if not self.server.alive():
            raise Failed(f"{self.name} ended with {self.server.process.returncode}")
        return http(f"http://127.0.0.1:{self.ports['http']}/readyz")[0] == 200

    @property
    def address(self):
        return f"127.0.0.1:{self.ports['rpc']}"

    def url(self, path):
        return f"http://127.0.0.1:{self.ports['http']}{path}"

    def stop(self, how=signal.SIGTERM):
        return self.server.stop(how) if self.server else None

    def kill(self):
        return self.stop(signal.SIGKILL)

    def alive(self):
        return self.server is not None and self.server.alive()

    def tail(self, lines=15):
        return self.server.tail(lines) if self.server else ""

    def remove(self):
        self.stop()
        if self.own_directory:
            rmtree(self.directory)


def service(program, flags=(), **options):
    """A service of another program than Blueprint."""
    made = Service(options.pop("name", program), flags, **options)
    made.program = program
    return made


class Cluster:
    """n nodes of Blueprint with fresh data and fixed addresses; `nodes` are Services."""

    def __init__(self, nodes=3, flags=(), directory=None, start=True):
        self.directory = directory or workdir("cluster")
        self.own_directory = directory is None
        self.secret = f"{self.directory}/cluster.secret"
        with open(os.open(self.secret, os.O_CREAT | os.O_WRONLY, 0o600), "w",
                  encoding="ascii") as f:
            f.write(os.urandom(32).hex())
        names = [chr(ord("a") + i) for i in range(nodes)]
        ports = free_ports(nodes)
        members = ",".join(f"{n}@127.0.0.1:{p}" for n, p in zip(names, ports))
        self.nodes = [Service(name, [f"--raft.node-id={name}", f"--raft.members={members}",
                                     f"--raft.secret_file={self.secret}",
                                     "--service.logging.level=warn", *flags],
                              directory=self.directory, ports={"rpc": port})
                      for name, port in zip(names, ports)]
        if start:
            self.start()

    def start(self):
        for node in self.nodes:
            node.spawn()
        for node in self.nodes:
            node.listening()
        wait_for("a leader", self.leader)
        for node in self.nodes:
            node.wait_ready()

    @property
    def addresses(self):
        return [node.address for node in self.nodes]

    @property
    def endpoint(self):
        return ",".join(self.addresses)

    def living(self):
        return [node for node in self.nodes if node.alive()]

    def status(self, node=None):
        """What `dctl cluster status` says, None when it gives no answer."""
        where = [node] if node else self.living()
        done = subprocess.run([f"{BIN}/dctl", "cluster", "status", "-o", "json", "--endpoint",
                               ",".join(n.address for n in where), "--timeout", "2s"],
                              capture_output=True, text=True, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def leader(self):
        """The node that leads, None while none is known to live."""
        for asked in self.living():
            for row in (self.status(asked) or {}).get("nodes", []):
                if row["role"] == "leader":
                    for node in self.living():
                        if node.name == row["id"]:
                            return node
        return None

    def followers(self):
        leader = wait_for("a leader", self.leader)
        return [node for node in self.living() if node is not leader]

    def applied(self, node):
        """What this node itself has applied, None when it does not answer."""
        for row in (self.status(node) or {}).get("nodes", []):
            if row["id"] == node.name:
                return row["applied"]
        return None

    def level(self):
        """All living nodes have applied the same index, which is returned; else None."""
        indexes = {self.applied(node) for node in self.living()}
        return indexes.pop() if len(indexes) == 1 else None

    def tails(self, lines=15):
        return "\n".join(f"--- {n.name} ({'alive' if n.alive() else 'ended'})\n{n.tail(lines)}"
                         for n in self.nodes)

    def stop(self):
        for node in self.nodes:
            if node.server:
                node.server.process.terminate() if node.alive() else None
        for node in self.nodes:
            node.stop()

    def remove(self):
        self.stop()
        if self.own_directory:
            rmtree(self.directory)
