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


def _openssl(directory: Path, *args: str) -> None:
    subprocess.run(["openssl", *args], cwd=directory, check=True, capture_output=True)


def _signed(directory: Path, name: str, extensions: str) -> tuple[Path, Path]:
    _openssl(directory, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
    _openssl(directory, "req", "-new", "-key", f"{name}.key", "-subj", f"/CN={name}", "-out", f"{name}.csr")
    (directory / f"{name}.ext").write_text(extensions)
    signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"]
    _openssl(
        directory,
        "x509",
        "-req",
        "-in",
        f"{name}.csr",
        *signing,
        "-extfile",
        f"{name}.ext",
        "-out",
        f"{name}.pem",
    )
    return directory / f"{name}.pem", directory / f"{name}.key"


def make_tls(
    directory: Path, names: Sequence[str] = ("DNS:localhost", "IP:127.0.0.1"), *, mutual: bool = False
) -> TlsFiles:
    """Make a CA, a server certificate for the names and a client certificate. Needs ``openssl`` on PATH."""
    directory.mkdir(parents=True, exist_ok=True)
    _openssl(directory, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ca.key")
    _openssl(
        directory,
        "req",
        "-x509",
        "-new",
        "-key",
        "ca.key",
        "-subj",
        "/CN=lab CA",
        "-days",
        "2",
        "-out",
        "ca.pem",
    )
    certificate, key = _signed(directory, "controller", f"subjectAltName={','.join(names)}\n")
    client_certificate, client_key = _signed(directory, "client", "extendedKeyUsage=clientAuth\n")
    return TlsFiles(directory / "ca.pem", certificate, key, client_certificate, client_key, mutual)
