"""Pull requests: what the ledger tells of them becomes requests, once a cause; forks are held (T3)."""

import pytest

from formicary.reconciler.pulls import judge
from formicary.runner.core.definition import PullRequestFilter
from formicary.runner.core.records import Delivery, Fact, PullRequest
from formicary.runner.core.states import State
from formicary.runner.telling.statuses import sync_owed

CI = "job_type: ci\ntriggers: {pull_request: {branches: [main]}}\nscript: [make]\n"
PAGES = "job_type: pages\ntriggers: {pull_request: {paths: ['docs/**']}}\nscript: [make]\n"
LABELS = "job_type: labels\ntriggers: {pull_request: {types: [labeled, closed]}}\nscript: [make]\n"


class Forge:
    """Tells the hive of pull request 7, as the door would write it down."""

    def __init__(self, hive, repository, base):
        self.hive, self.repository, self.base, self.at, self.key = hive, repository, base, 100.0, 0

    async def tell(self, action, head, *, at=None, sync=True, **fields):
        self.at, self.key = self.at + 1, self.key + 1
        about = {
            "repository_id": 0,
            "number": 7,
            "title": "Say hello",
            "head_ref": "topic",
            "head_commit": head,
            "head_slug": "acme/hill",
            "base_ref": "main",
            "base_commit": self.base,
            "updated_at": self.at if at is None else at,
        }
        pull = PullRequest(**{**about, **fields})
        fact = Fact(event="pull_request", action=action, slug="acme/hill", sender="ada", pull_request=pull)
        delivery = Delivery(
            forge="github",
            delivery_key=f"d-{self.key}",
            repository_id=self.repository.id,
            fact=fact.model_dump(mode="json"),
            received_at=1.0,
        )
        stored, _ = await self.hive.store.write(lambda tx: tx.add_delivery(delivery))
        if sync:
            await self.hive.reconciler.sync(self.repository.id)
        return self.hive.store.read().delivery_by_id(stored.id)

    def again(self, delivery):
        """The same one once more, as a replay does."""
        accepted = delivery.model_copy(update={"verdict": "accepted"})
        return self.hive.store.write(lambda tx: tx.save_delivery(accepted))


@pytest.fixture
async def forge(hive, repo):
    base = repo.commit({".formicary/ci.yml": CI, ".formicary/pages.yml": PAGES, ".formicary/labels.yml": LABELS})
    repository = await hive.watch(repo, forge="github", slug="acme/hill")
    repo.git("checkout", "-q", "-b", "topic")
    return Forge(hive, repository, base)


async def test_an_opened_pull_request_runs_what_its_head_says(hive, repo, forge):
    head = repo.commit({"a.txt": "1"}, "the change")
    delivery = await forge.tell("opened", head, title="$(rm -rf /)", merge_commit="c" * 40)
    ci, pages = (next(one for one in hive.requests() if one.job_type == name) for name in ("ci", "pages"))
    assert (ci.state, ci.event, ci.ref, ci.commit) == (State.PENDING, "pull_request", "refs/pull/7/head", head)
    assert ci.created_by == "ada" and ci.trusted
    wanted = {
        "GitBranch": "topic",
        "GitBaseBranch": "main",
        "GitPullRequest": "7",
        "GitPullRequestTitle": "$(rm -rf /)",
        "GitMergeCommit": "c" * 40,
        "GitChangedFiles": ["a.txt"],
        "GitEvent": "pull_request",
        "GitCommitMessage": "the change",
    }
    assert wanted.items() <= ci.params.items()
    assert {"GitBranch", "GitPullRequestTitle"} <= set(ci.tainted)
    assert pages.state is State.SKIPPED and "docs/**" in pages.reason, "D11"
    assert (delivery.verdict, set(delivery.request_ids)) == ("handled", {ci.id, pages.id})
    assert hive.store.read().pull_request(forge.repository.id, 7).head_commit == head


async def test_where_the_base_commit_is_not_told_its_branch_counts(hive, repo, forge):
    """GitLab names the base's branch alone; what the head has changed since it left it is not only its last commit."""
    repo.commit({"docs/a.md": "1"})
    head = repo.commit({"a.txt": "1"})
    await forge.tell("opened", head, base_commit="")
    pages = next(one for one in hive.requests() if one.job_type == "pages")
    assert pages.state is State.PENDING and pages.params["GitChangedFiles"] == ["a.txt", "docs/a.md"]


async def test_one_request_a_cause_however_often_it_is_told(hive, repo, forge):
    """T10: doubled, replayed, and told after a newer head."""
    first = repo.commit({"a.txt": "1"})
    opened = await forge.tell("opened", first)
    await forge.again(opened)
    await hive.reconciler.sync(forge.repository.id)
    same = await forge.tell("synchronize", first)
    assert len([one for one in hive.requests() if one.job_type == "ci"]) == 1
    assert hive.store.read().delivery_by_id(opened.id).request_ids == opened.request_ids == same.request_ids
    second = repo.commit({"a.txt": "2"})
    await forge.tell("synchronize", second)
    late = await forge.tell("synchronize", first, at=50.0)
    assert [one.commit for one in hive.requests() if one.job_type == "ci"] == [first, second]
    assert late.verdict == "coalesced" and "newer" in late.reason


async def test_closed_and_opened_again_is_another_cause(hive, repo, forge):
    head = repo.commit({"a.txt": "1"})
    await forge.tell("opened", head)
    closed = await forge.tell("closed", head, state="closed")
    await forge.tell("reopened", head)
    assert [one.commit for one in hive.requests() if one.job_type == "ci"] == [head, head]
    (labels,) = [one for one in hive.requests() if one.job_type == "labels"]
    assert closed.request_ids == (labels.id,)


async def test_what_no_trigger_names_makes_nothing(hive, repo, forge):
    head = repo.commit({"a.txt": "1"})
    edited = await forge.tell("edited", head)
    assert (edited.verdict, hive.requests()) == ("ignored", [])
    labelled = await forge.tell("labeled", head)
    again = await forge.tell("labeled", head)
    assert len(labelled.request_ids) == len(again.request_ids) == 1
    assert labelled.request_ids != again.request_ids, "each label is a cause of its own"


async def test_a_fork_is_held(hive, repo, forge):
    """T3: nothing of it runs, and the ledger says so."""
    head = repo.commit({"a.txt": "1"})
    delivery = await forge.tell("opened", head, fork=True, head_slug="mallory/hill")
    assert (delivery.verdict, hive.requests()) == ("held", []) and "fork" in delivery.reason


async def test_a_head_that_is_gone_makes_nothing(hive, forge):
    delivery = await forge.tell("opened", "d" * 40)
    assert delivery.verdict == "coalesced" and "not there" in delivery.reason
    assert hive.requests() == []


async def test_invalid_definitions_of_the_head_run_nothing(hive, repo, forge):
    head = repo.commit({".formicary/ci.yml": "job_type: ci\nscript: 3: 4\n"})
    await forge.tell("opened", head)
    assert [one.job_type for one in hive.requests()] == ["pages"]


async def test_the_forge_is_told_how_the_definitions_of_a_head_are(hive, repo, forge):
    """`formicary/sync`: on a head that is invalid and on the one that mends it, on no other."""
    hive.queen.told.judgements = [sync_owed]
    repo.git("checkout", "-q", "--detach")
    bad, mended, after = (
        repo.commit({".formicary/ci.yml": text}) for text in (CI.replace("script", "scirpt"), CI, CI + "# more\n")
    )
    for action, head in (("opened", bad), ("synchronize", mended), ("synchronize", after)):
        await forge.tell(action, head)
    assert {entry.payload["commit"] for entry in hive.store.read().outbox().records} == {bad, mended}


async def test_several_deliveries_in_one_look(hive, repo, forge):
    """In the order in which they came, as after a time when the server was away."""
    first = repo.commit({"a.txt": "1"})
    await forge.tell("opened", first, sync=False)
    second = repo.commit({"a.txt": "2"})
    await forge.tell("synchronize", second)
    assert [one.commit for one in hive.requests() if one.job_type == "ci"] == [first, second]
    causes = {one.cause_key for one in hive.requests() if one.job_type == "ci"}
    assert len(causes) == 2


@pytest.mark.parametrize(
    ("wanted", "files", "reason"),
    [
        ({}, ["a"], ""),
        ({"branches": ("release/*",)}, ["a"], "base `main`"),
        ({"paths_ignore": ("docs/**",)}, ["docs/a"], "paths_ignore"),
        ({"paths": ("src/**",)}, ["src/a", "b"], ""),
    ],
)
def test_the_filter_says_why(wanted, files, reason):
    found = judge(PullRequestFilter(**wanted), PullRequest(repository_id=1, number=1, base_ref="main"), files)
    assert (reason in found) if reason else found == ""
