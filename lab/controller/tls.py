# SPDX-License-Identifier: Apache-2.0
"""Certificates for a controller that speaks HTTPS, made with the openssl program."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TlsFiles:
    """PEM files: the CA to pin, the server's certificate, and a client's for mutual TLS."""

    ca: Path
    certificate: Path
    key: Path
    client_certificate: Path
    client_key: Path
    mutual: bool = False

    def context(self) -> ssl.SSLContext:
        """For the server; with ``mutual`` a client must show a certificate of the CA."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        if self.mutual:
            context.load_verify_locations(self.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


# what strict verification (the default from Python 3.13 on) demands of certificates
_CA_EXTENSIONS = """[req]
distinguished_name = name
x509_extensions = ca
prompt = no
[name]
CN = lab CA
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
"""
_LEAF_EXTENSIONS = """basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


def _openssl(directory: Path, command: str) -> None:
    subprocess.run(["openssl", *command.split()], cwd=directory, check=True, capture_output=True)


def _make_key(directory: Path, name: str) -> None:
    _openssl(directory, f"ecparam -name prime256v1 -genkey -noout -out {name}.key")


def _signed(directory: Path, name: str, extensions: str) -> tuple[Path, Path]:
    _make_key(directory, name)
    _openssl(directory, f"req -new -key {name}.key -subj /CN={name} -out {name}.csr")
    (directory / f"{name}.ext").write_text(_LEAF_EXTENSIONS + extensions)
    signing = "x509 -req -days 2 -CA ca.pem -CAkey ca.key -CAcreateserial"
    _openssl(directory, f"{signing} -in {name}.csr -extfile {name}.ext -out {name}.pem")
    return directory / f"{name}.pem", directory / f"{name}.key"


def make_tls(
    directory: Path, names: Sequence[str] = ("DNS:localhost", "IP:127.0.0.1"), *, mutual: bool = False
) -> TlsFiles:
    """Make a CA, a server certificate for the names and a client certificate. Needs ``openssl`` on PATH."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "ca.cnf").write_text(_CA_EXTENSIONS)
    _make_key(directory, "ca")
    _openssl(directory, "req -x509 -new -key ca.key -days 2 -config ca.cnf -out ca.pem")
    certificate, key = _signed(directory, "controller", f"subjectAltName = {','.join(names)}\n")
    client_certificate, client_key = _signed(directory, "client", "extendedKeyUsage = clientAuth\n")
    return TlsFiles(directory / "ca.pem", certificate, key, client_certificate, client_key, mutual)
