"""A small authority made with openssl: certificates for servers, nodes and clients."""
import os
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
