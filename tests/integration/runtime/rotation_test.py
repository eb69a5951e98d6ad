"""Certificates that are put in the place of others under a running process: gRPC and HTTPS."""
import http.client
import json
import os
import re
import shutil
import ssl
import subprocess

import probe
from certificates import Authority, Files, bundle, place
from probe import Probe, expect, expect_in, p


def serial_of(path):
    done = subprocess.run(["openssl", "x509", "-noout", "-serial", "-enddate", "-dateopt",
                           "iso_8601", "-in", path], capture_output=True, text=True, check=True)
    serial, end = re.match(r"serial=(\w+)\s+notAfter=(.*)Z", done.stdout).groups()
    return int(serial, 16), end


class Connection:
    """One HTTPS connection, kept open; `trust` is whom it trusts, `client` what it shows."""

    def __init__(self, service, trust, client=None):
        context = ssl.create_default_context(cafile=trust)
        if client:
            context.load_cert_chain(*client)
        self.serial = None  # of the certificate that the server showed
        self.http = http.client.HTTPSConnection("127.0.0.1", service.ports["http"], timeout=20,
                                                context=context)

    def speak(self, text):
        if self.serial is None:
            self.http.connect()
            self.serial = int(self.http.sock.getpeercert()["serialNumber"], 16)
        self.http.request("POST", "/" + probe.PATH, json.dumps({"input": text}),
                          {"content-type": "application/json"})
        answer = self.http.getresponse()
        body = answer.read().decode()
        return answer.status, json.loads(body)["output"] if answer.status == 200 else body

    def close(self):
        self.http.close()


def attempt(service, trust, client=None, text="peer:"):
    """(status, answer, serial of the server) of a connection of its own; None when there is none."""
    connection = Connection(service, trust, client)
    try:
        return (*connection.speak(text), connection.serial)
    except OSError:
        return None
    finally:
        connection.close()


def asked_for(service):
    """The names by which a browser chooses the certificate that it shows."""
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{service.ports['http']}"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                          timeout=30)
    found = re.search(r"Acceptable client certificate CA names\n((?:CN.*\n)*)", done.stdout)
    return found.group(1).splitlines() if found else None


class Served(Probe):
    def __init__(self, things, *flags):
        self.directory = p.workdir("rotation")
        self.authority = Authority(self.directory, "first")
        self.next = Authority(self.directory, "next")
        self.files = Files(self.directory, "probe", self.authority, "probe-server")
        super().__init__("--service.network.operator_loopback=never", *self.files.flags(), *flags,
                         directory=self.directory)
        self.own_directory = True
        things.append(self)
        self.start()

    def ready(self):
        return p.http(f"http://127.0.0.1:{self.ports['admin']}/readyz")[0] == 200

    def metric(self, name, file):
        """By the admin port, which is plain."""
        status, _, body = p.http(f"http://127.0.0.1:{self.ports['admin']}/metrics")
        expect("status of /metrics", status, 200)
        found = re.search(rf'^{name}{{file="{re.escape(file)}"}} (\d+)$', body.decode(), re.M)
        return int(found.group(1)) if found else None


def both_ports_serve_the_new_certificate(things):
    service = Served(things)
    files, first = service.files, service.authority.ca
    kept = Connection(service, first)
    expect("a call before", kept.speak("peer:"), (200, " public encrypted"))
    before, _ = serial_of(files.certificate)
    expect("the certificate before", kept.serial, before)
    files.use(service.next, "probe-server")
    after, end = serial_of(files.certificate)
    p.wait_for("HTTPS with the new certificate",
               lambda: attempt(service, service.next.ca) == (200, " public encrypted", after))
    expect("who trusts the former authority only", attempt(service, first), None)
    code, text = service.grpc("peer:", "--ca", service.next.ca)
    expect("gRPC with the new certificate: " + text, code, 0)
    expect("gRPC with the former one", service.grpc("peer:", "--ca", first, timeout="2s")[0], 4)
    expect("a call by the connection of before", kept.speak("peer:"), (200, " public encrypted"))
    kept.close()
    date = subprocess.run(["date", "-u", "-d", end, "+%s"], capture_output=True, text=True,
                          check=True)
    expect("the end that is shown",
           service.metric("chassis_certificate_not_after_seconds", files.certificate),
           int(date.stdout))


def broken_files_change_nothing_and_are_named(things):
    service = Served(things)
    files, first = service.files, service.authority.ca
    serial, _ = serial_of(files.certificate)
    other = service.next.issue("other", "DNS:localhost", "IP:127.0.0.1")[0]

    def refused():
        return service.metric("chassis_certificate_refused", files.certificate) == 1

    def good():
        answer = attempt(service, first)
        expect("what HTTPS serves", answer, (200, " public encrypted", serial))
        code, text = service.grpc("peer:", "--ca", first)
        expect("gRPC: " + text, code, 0)

    keep = files.certificate + ".keep"
    shutil.copy2(files.certificate, keep)
    place(other, files.certificate)
    p.wait_for("a certificate without its key is refused", refused)
    expect_in("what is logged", "does not belong to certificate", service.output())
    good()
    place(keep, files.certificate)
    p.wait_for("files that are good again", lambda: not refused())
    with open(files.ca, "r+b") as f:
        f.truncate(os.path.getsize(files.ca) - 40)
    p.wait_for("half of an authority is refused", refused)
    expect_in("what is logged", f"certificate 1 in '{files.ca}' is cut off", service.output())
    good()


def an_authority_is_replaced_with_an_overlap(things):
    service = Served(things)
    files = service.files
    anna, bert = service.authority.issue("anna"), service.next.issue("bert")
    kept = Connection(service, service.authority.ca, anna)
    expect("anna", kept.speak("peer:"), (200, "anna public encrypted"))

    def seen(client):
        answer = attempt(service, service.authority.ca, client)
        return answer[:2] if answer else None

    expect("bert, of an authority that is not trusted yet", seen(bert)[0], 403)
    expect("the authorities that clients are asked for", asked_for(service), ["CN = first"])
    bundle(files.ca, service.authority.ca, service.next.ca)
    p.wait_for("bert is known", lambda: seen(bert) == (200, "bert public encrypted"))
    expect("anna", seen(anna), (200, "anna public encrypted"))
    code, text = service.grpc("peer:", "--ca", service.authority.ca, "--cert", bert[0], "--key",
                              bert[1])
    expect_in("bert by gRPC", "bert public encrypted", text)
    place(service.next.ca, files.ca)
    p.wait_for("anna is not known any more", lambda: seen(anna)[0] == 403)
    expect("bert", seen(bert), (200, "bert public encrypted"))
    expect("the authorities that clients are asked for", asked_for(service), ["CN = next"])
    expect("anna by the connection of before", kept.speak("peer:"), (200, "anna public encrypted"))
    kept.close()


probe.run([both_ports_serve_the_new_certificate, broken_files_change_nothing_and_are_named,
           an_authority_is_replaced_with_an_overlap])
