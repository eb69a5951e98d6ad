"""A small authority made with openssl: certificates for servers, nodes and clients; and files that
are changed while a process uses them."""
import os
import shutil
import subprocess


def openssl(*arguments):
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {' '.join(arguments)}\n{done.stderr}")


class Authority:
    def __init__(self, directory, name="authority"):
        self.directory = os.path.join(directory, name)
        os.makedirs(self.directory)
        self.ca, self.key = f"{self.directory}/ca.pem", f"{self.directory}/ca.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-days", "60", "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.ca)

    def issue(self, name, *names, purpose="serverAuth,clientAuth", days=60):
        """(certificate, key) for `name`, which is its first alternative name too."""
        base = f"{self.directory}/{name}"
        alternatives = ",".join([f"DNS:{name}", *names])
        with open(base + ".ext", "w", encoding="ascii") as f:
            f.write(f"subjectAltName={alternatives}\nextendedKeyUsage={purpose}\n")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                f"/CN={name}", "-keyout", base + ".key", "-out", base + ".csr")
        openssl("x509", "-req", "-in", base + ".csr", "-CA", self.ca, "-CAkey", self.key,
                "-CAcreateserial", "-days", str(days), "-extfile", base + ".ext", "-out",
                base + ".pem")
        os.chmod(base + ".key", 0o600)
        return base + ".pem", base + ".key"

    def flags(self, name, *names):
        """What a service is told to serve TLS as `name` on this machine."""
        certificate, key = self.issue(name, "DNS:localhost", "IP:127.0.0.1", *names)
        return [f"--service.network.tls.ca={self.ca}",
                f"--service.network.tls.certificate={certificate}",
                f"--service.network.tls.key={key}"]

    def client(self, name, **options):
        """What dctl is told to be `name`."""
        certificate, key = self.issue(name, **options)
        return ["--ca", self.ca, "--cert", certificate, "--key", key]


def place(source, target):
    """As tools that renew certificates do: the whole file at once."""
    shutil.copy2(source, target + ".part")
    os.replace(target + ".part", target)


def bundle(target, *sources):
    with open(target + ".part", "wb") as out:
        for source in sources:
            with open(source, "rb") as f:
                out.write(f.read())
    os.replace(target + ".part", target)


class Files:
    """The three files of a process, which change while it runs."""

    def __init__(self, directory, name, authority, subject):
        self.ca, self.certificate, self.key = (f"{directory}/{name}-{part}"
                                               for part in ("ca.pem", "live.pem", "live.key"))
        place(authority.ca, self.ca)
        self.use(authority, subject)

    def use(self, authority, subject):
        certificate, key = authority.issue(subject, "DNS:localhost", "IP:127.0.0.1")
        place(key, self.key)
        place(certificate, self.certificate)

    def flags(self):
        return [f"--service.network.tls.ca={self.ca}",
                f"--service.network.tls.certificate={self.certificate}",
                f"--service.network.tls.key={self.key}"]

    def client(self):
        return ["--ca", self.ca, "--cert", self.certificate, "--key", self.key]
