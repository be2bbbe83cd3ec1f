"""What a definition is rendered with when it is loaded: nobody's values, of the right kinds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from formicary.runner.core.definition import Value
from formicary.runner.core.names import FIXED, OUTSIDERS_WRITE, Names

SAMPLES: Final[Mapping[str, Value]] = {
    "JobID": 1,
    "JobType": "sample",
    "JobRetry": 0,
    "JobElapsedSecs": 0,
    "TaskType": "sample",
    "TaskRetry": 0,
    "UserID": "sample",
    "OrganizationID": "sample",
    "DateYear": 2000,
    "DateMonth": 1,
    "DateDay": 1,
    "YearDay": 1,
    "FullDate": "2000-01-01",
    "EpochSecs": 946684800,
    "GitBranch": "main",
    "GitTag": "",
    "GitCommitID": "0" * 40,
    "GitMergeCommit": "",
    "GitCommitMessage": "sample",
    "GitCommitAuthor": "sample",
    "GitCommitAuthorEmail": "sample@localhost",
    "GitBaseBranch": "main",
    "GitPullRequest": "",
    "GitPullRequestTitle": "",
    "GitRepository": "sample",
    "GitRepositoryURL": "",
    "GitEvent": "manual",
    "GitChangedFiles": ["sample"],
    "GitBefore": "",
    "CI": True,
    "CI_COMMIT_SHA": "0" * 40,
    "CI_COMMIT_BRANCH": "main",
    "CI_COMMIT_TAG": "",
    "CI_PIPELINE_URL": "",
    "CI_JOB_NAME": "sample",
    "FORMICARY": True,
}
SAMPLE_NAMES: Final = Names(SAMPLES, OUTSIDERS_WRITE, {}, dict.fromkeys(SAMPLES, FIXED))
