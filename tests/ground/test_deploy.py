"""docs/deploy and the Dockerfile say only what the program takes, and what their own tools take."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml
from servers import Server

from formicary.cli.main import cli
from formicary.cli.settings import NOT_SETTINGS, PREFIX, Settings, read_settings

UNITS = ("formicary.service", "formicary-unprivileged.service")
COMPOSE = ("compose.yaml", "compose.users.yaml")


@pytest.fixture
def deploy(root):
    return root / "docs" / "deploy"


def call(*words, **options):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def tool(name):
    if shutil.which(name) is None:
        pytest.skip(f"there is no {name} here")
    return name


def test_every_variable_is_a_setting(root, deploy):
    """A misspelt one would be a warning in a log that nobody reads."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | NOT_SETTINGS
    files = [root / "Dockerfile", *(path for path in deploy.iterdir() if path.is_file())]
    said = {name for path in files for name in re.findall(rf"\b{PREFIX}[A-Z_]+\b", path.read_text(encoding="utf-8"))}
    assert len(said) > 5
    assert said - known == set()


def test_every_command_line_is_the_programs(deploy):
    """What the units, the image and the comments of the proxies call."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in deploy.iterdir() if path.is_file())
    lines = [line.split("#")[0].split() for line in re.findall(r"^(?:ExecStart=\S*/|# +)formicary (\w.*)$", text, re.M)]
    assert len(lines) >= 4
    for name, *words in lines:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None, name
        options = {option for one in command.params for option in one.opts}
        assert {word for word in words if word.startswith("--")} <= options


# --- the image


def test_hadolint_finds_nothing(root):
    """Every rule of hadolint; those that are ignored say why."""
    call(Path(sys.executable).with_name("hadolint"), "--failure-threshold", "style", root / "Dockerfile")


def test_hadolint_would_find_something(tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM debian\nRUN cd /tmp && sudo apt-get install git\n")
    words = [Path(sys.executable).with_name("hadolint"), tmp_path / "Dockerfile"]
    assert subprocess.run(words, capture_output=True).returncode == 1


def test_the_image_gets_every_package_and_nothing_else(root, project):
    """.dockerignore lets in what the wheel and the Dockerfile take."""
    lines = (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    rooms = {name.split(".")[1] for name in project["tool"]["setuptools"]["packages"]}
    text = (root / "Dockerfile").read_text(encoding="utf-8")
    copied = {word for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.M) for word in line.split()} - {"."}
    assert "*" in lines
    assert allowed == rooms | copied | {"LICENSE", "README.md", "pyproject.toml"}
    assert all((root / name).exists() for name in allowed)


def test_the_image_is_nobody_special(root):
    text = (root / "Dockerfile").read_text(encoding="utf-8")
    users = re.findall(r"^USER (\S+)", text, re.M)
    assert users == ["7777:7777"]
    assert text.rindex("USER ") < text.index("ENTRYPOINT") and "HEALTHCHECK" in text and "--require-hashes" in text


def test_healthy_says_whether_it_lives(deploy, tmp_path, monkeypatch):
    """What HEALTHCHECK calls: 0 while it serves, else 1 with a sentence; a proxy of the environment is not asked."""
    words = [sys.executable, "-I", deploy / "healthy.py"]
    asked = {"FORMICARY_DATA": str(tmp_path / "data"), "http_proxy": "http://127.0.0.1:1", "PATH": ""}
    server = Server(tmp_path).ready()
    try:
        call(*words, env=asked)
    finally:
        server.stop()
    done = subprocess.run(words, env=asked, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and "no server answers" in done.stderr and "Traceback" not in done.stderr


# --- compose


def composed(deploy):
    return [yaml.safe_load((deploy / name).read_text(encoding="utf-8"))["services"]["formicary"] for name in COMPOSE]


def test_compose_waits_longer_than_it_drains(deploy):
    main, _ = composed(deploy)
    (minutes,) = re.fullmatch(r"(\d+)m", main["stop_grace_period"]).groups()
    assert int(minutes) * 60 > float(main["environment"]["FORMICARY_DRAIN"])


def test_compose_gives_root_back_only_what_tasks_users_take(deploy):
    main, users = composed(deploy)
    assert main["read_only"] and main["cap_drop"] == ["ALL"] and "user" not in main
    assert users["user"] == "0:0" and users["environment"]["FORMICARY_TASK_UIDS"]
    assert set(users["cap_add"]) == {"CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"}


@pytest.mark.parametrize("number", [1, 2])
def test_compose_takes_its_files(deploy, number):
    files = [word for name in COMPOSE[:number] for word in ("-f", deploy / name)]
    assert "stop_grace_period: 11m" in call(tool("docker-compose"), *files, "config")


# --- systemd


def unit(deploy, name):
    """The [Service] part; a key that comes twice has a list."""
    found = {}
    text = (deploy / name).read_text(encoding="utf-8").split("[Service]\n", 1)[1].split("\n[", 1)[0]
    for key, value in re.findall(r"^(\w+)=(.*)$", text, re.M):
        found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_waits_longer_than_it_drains_and_its_settings_are_taken(deploy, name, tmp_path):
    said = unit(deploy, name)
    pairs = [word.partition("=")[::2] for line in said["Environment"] for word in line.split()]
    environment = {name: value.replace("%S", "/var/lib").replace("%C", "/var/cache") for name, value in pairs}
    settings = read_settings({}, environment=environment, folder=tmp_path)
    assert float(said["TimeoutStopSec"][0]) > settings.drain
    assert said["KillMode"] == ["mixed"]
    assert settings.data.name == said["StateDirectory"][0] and settings.work.name == said["CacheDirectory"][0]
    assert said["StateDirectoryMode"] == ["0700"]


def test_as_root_tasks_get_users_of_their_own(deploy):
    """T19: and they pass through the folder of the workspaces; the other unit has no right of root at all."""
    root, other = (unit(deploy, name) for name in UNITS)
    assert "User" not in root and "FORMICARY_TASK_UIDS=200000-265535" in " ".join(root["Environment"])
    assert {"CAP_CHOWN", "CAP_SETUID", "CAP_SETGID", "CAP_KILL"} <= set(root["CapabilityBoundingSet"][0].split())
    assert root["CacheDirectoryMode"] == ["0711"]
    assert other["User"] == ["formicary"] and other["CapabilityBoundingSet"] == [""]


@pytest.mark.parametrize("name", UNITS)
def test_systemd_takes_the_units(deploy, name, tmp_path):
    """All but the program's place, which is not on this machine."""
    text = (deploy / name).read_text(encoding="utf-8").replace("/opt/formicary/bin/formicary serve", "/bin/true")
    (tmp_path / name).write_text(text)
    said = call(tool("systemd-analyze"), "verify", "--man=no", tmp_path / name)
    assert [line for line in said.splitlines() if name in line] == []


@pytest.mark.parametrize(("name", "most"), list(zip(UNITS, (35, 20), strict=True)))
def test_the_units_are_hardened(deploy, name, most):
    """systemd's own measure, in tenths: 100 is no protection at all."""
    words = [tool("systemd-analyze"), "security", "--offline=true", f"--threshold={most}", deploy / name]
    call(*words, "--no-pager")


def test_the_units_can_be_read_as_they_are(deploy):
    for name in UNITS:
        parser = configparser.ConfigParser(strict=False)
        parser.optionxform = str
        parser.read_string((deploy / name).read_text(encoding="utf-8"))
        assert parser.sections() == ["Unit", "Service", "Install"]


# --- proxies


def test_nginx_takes_its_example(deploy, tmp_path):
    program = tool("nginx")
    key, certificate = tmp_path / "privkey.pem", tmp_path / "fullchain.pem"
    subject = ["-subj", "/CN=ci.example.org", "-days", "1"]
    call(
        tool("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, *subject
    )
    site = (deploy / "nginx.conf").read_text(encoding="utf-8").replace("/etc/ssl/ci.example.org", str(tmp_path))
    whole = f"pid {tmp_path}/pid;\nerror_log {tmp_path}/log;\nevents {{}}\nhttp {{\naccess_log off;\n{site}}}\n"
    (tmp_path / "nginx.conf").write_text(whole)
    call(program, "-t", "-c", tmp_path / "nginx.conf", "-p", tmp_path)


def test_caddy_takes_its_example(deploy):
    call(tool("caddy"), "validate", "--adapter", "caddyfile", "--config", deploy / "Caddyfile")


# --- the lock


def test_what_is_installed_to_run_is_what_is_tested(root, project):
    """requirements-run.txt is a part of requirements.txt: the same versions, the same hashes, all that is needed."""
    locks = [(root / name).read_text(encoding="utf-8") for name in ("requirements.txt", "requirements-run.txt")]
    whole, run = (dict(pinned(text)) for text in locks)
    assert {name: one for name, one in run.items() if whole.get(name) != one} == {}
    asked = {re.match(r"[A-Za-z0-9._-]+", one)[0].lower() for one in project["project"]["dependencies"]}
    assert asked - set(run) == set()
    assert "://" not in locks[1] and all(hashes for _, hashes in run.values())


def pinned(text):
    for block in re.split(r"^(?=[a-z0-9])", text, flags=re.M)[1:]:
        name, version = re.match(r"(\S+?)==(\S+)", block).groups()
        yield name, (version, frozenset(re.findall(r"--hash=(\S+)", block)))
