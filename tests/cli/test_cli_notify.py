"""`formicary notify`: whether a message would arrive, before anything fails at night."""

import anyio
import anyio.to_thread

from formicary.cli.main import run


async def test_a_test_mail_arrives(mail_server, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    async with mail_server() as server:
        smtp = ["--smtp", f"smtp://127.0.0.1:{server.port}", "--smtp-from", "ci@ants.example"]
        assert await anyio.to_thread.run_sync(run, ["notify", "ann@example.org", *smtp]) == 0
    (letter,) = server.mails
    assert (letter["To"], letter["Subject"]) == ("ann@example.org", "A test message from Formicary")
    assert capsys.readouterr().out == "sent to ann@example.org\n"


def test_the_operators_name_is_used_and_nothing_of_its_url_shown(receive, capsys, tmp_path, monkeypatch):
    """The file's names are those that definitions use."""
    double = receive()
    text = f'[notify_urls]\nops = "json://127.0.0.1:{double.port}/s3cr3t"\n'
    (tmp_path / "formicary.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert run(["notify", "operator://ops"]) == 0
    assert double.calls[0].path == "/s3cr3t"
    double.answers.append((500, {}, b""))
    assert run(["notify", "operator://ops"]) == 1
    said = capsys.readouterr()
    assert "operator://ops could not be told" in said.err and "s3cr3t" not in said.out + said.err


def test_what_is_not_set_up_is_said(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for recipient, told in [("a@b.example", "`smtp`"), ("#ci", "`slack`"), ("json://x", "`notify_urls`")]:
        assert run(["notify", recipient]) == 1
        assert told in capsys.readouterr().err
