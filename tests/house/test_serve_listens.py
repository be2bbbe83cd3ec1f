"""`formicary serve` over HTTPS, and a listener that takes hooks alone."""

import json
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from formicary.webhook.forges.signature import sign

JOB = "job_type: ci\ntriggers: {commit: {}}\nscript: [echo hello]\n"
FORMICARY = [sys.executable, "-m", "formicary.cli.main"]


@pytest.fixture
def certificate(tmp_path):
    """A certificate for ci.example.org that nobody has signed but itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ci.example.org")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("ci.example.org")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert, private = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert, private


@pytest.fixture
def project(repo):
    repo.commit({".formicary/ci.yml": JOB})
    return repo


def fetch(url, cert=None, data=None, **headers):
    """(status, text)."""
    context = ssl.create_default_context(cafile=cert) if cert else None
    if context:
        context.check_hostname = False
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, data=data, headers=headers), timeout=20, context=context
        ) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_https_for_people_and_for_our_own_commands_and_hooks(serve, project, certificate, tmp_path):
    """The command line and the git hook know the server by its certificate, whatever name is in that."""
    cert, key = certificate
    server = serve(tmp_path, "--repo", project.path, "--tls-cert", cert, "--tls-key", key, "--poll", "600")
    assert server.url.startswith("https://127.0.0.1:")
    assert fetch(server.url + "/health/live", cert)[0] == 200
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        fetch(server.url + "/health/live")
    said = ["--data", str(server.data)]
    doctor = subprocess.run([*FORMICARY, "doctor", *said], cwd=tmp_path, capture_output=True, text=True)
    assert f"A server runs at {server.url}, and it is ready" in doctor.stdout
    hook = subprocess.run([*FORMICARY, "hook", "install", *said], cwd=project.path, capture_output=True, text=True)
    assert hook.returncode == 0, hook.stderr
    project.commit({"a.txt": "1"})
    listed = [*FORMICARY, "status", "--json", *said]

    def two():
        found = subprocess.run(listed, cwd=tmp_path, capture_output=True, text=True, check=True)
        return len(json.loads(found.stdout)["latest"]) == 2

    server.wait(two)


def test_hooks_have_a_listener_of_their_own(serve, project, tmp_path):
    """It answers to any name, takes signed hooks, and has nothing else: no pages, no API, no login."""
    (tmp_path / "formicary.toml").write_text(
        f"[[repo]]\npath = '{project.path}'\nname = 'hill'\nforge = 'github'\nslug = 'acme/hill'\n"
    )
    secret = {"FORMICARY_GITHUB_WEBHOOK_SECRET": "s3cret"}
    server = serve(tmp_path, "--hooks-listen", "127.0.0.1:0", **secret)
    (line,) = [one for one in server.said().splitlines() if one.strip().startswith("hooks ")]
    public = line.split()[1].removesuffix("/hooks/…,")
    assert fetch(public + "/health/live")[0] == 200
    for path in ("/", "/login", "/api/repos", "/metrics", "/api/docs", "/static/site.css"):
        assert fetch(public + path, Authorization=f"Bearer {server.token}")[0] == 404, path
    body = json.dumps({"ref": "refs/heads/main", "repository": {"full_name": "acme/hill"}}).encode()
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": "d-1",
        "Host": "hooks.example.org",
    }
    assert fetch(public + "/hooks/github", data=body, **headers)[0] == 401
    good = {"X-Hub-Signature-256": sign(b"s3cret", body)}
    assert fetch(public + "/hooks/github", data=body, **headers, **good)[0] == 202
    assert server.get("/api/deliveries")["records"][0]["forge"] == "github"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tls-cert", "cert.pem"], "given together"),
        (["--tls-cert", "nothing.pem", "--tls-key", "key.pem"], "nothing.pem is not there"),
        (["--tls-cert", "key.pem", "--tls-key", "key.pem"], "no certificate and its key"),
        (["--hooks-listen", "here"], "no address to listen on"),
    ],
)
def test_what_cannot_be_listened_with_is_said_at_once(certificate, tmp_path, words, said):
    words = [str(tmp_path / word) if word.endswith(".pem") else word for word in words]
    done = subprocess.run(
        [*FORMICARY, "serve", "--data", str(tmp_path / "data"), "--port", "0", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1 and said in done.stderr
    assert not (tmp_path / "data").exists(), "nothing was begun"
