-- The named statements. `-- name:` begins one, the comment after it says what it is for. `{request.columns}` and its
-- like are filled from the record's fields when the program starts (rows.py). Lists are ordered by an index and limited.

-- name: epoch
-- The epoch of the queen that opened the store last.
SELECT epoch FROM store WHERE id = 1

-- name: raise_epoch
-- A new queen takes over.
UPDATE store SET epoch = epoch + 1 WHERE id = 1 RETURNING epoch

-- name: searched
-- The last request that is in the full-text index.
SELECT searched FROM store WHERE id = 1

-- name: index_requests
-- Put the requests up to one into the full-text index.
INSERT INTO requests_fts (rowid, job_type, ref, [commit], description, created_by)
SELECT id, job_type, ref, [commit], description, created_by FROM requests
WHERE id > (SELECT searched FROM store) AND id <= :newest

-- name: set_searched
-- Requests up to this one are in the full-text index.
UPDATE store SET searched = :newest WHERE id = 1

-- name: request
-- One request.
SELECT {request.columns} FROM requests WHERE id = :id

-- name: request_waits
-- Whether a request waits for admission.
SELECT 1 FROM requests WHERE id = :id AND state = 'PENDING' AND execution_id IS NULL

-- name: waiting_requests
-- Requests that wait for admission, oldest first.
SELECT {request.columns} FROM requests WHERE state = 'PENDING' AND execution_id IS NULL ORDER BY id LIMIT :limit

-- name: children
-- Requests that another one has forked, in the order in which they were.
SELECT {request.columns} FROM requests WHERE parent_id = :parent_id ORDER BY id LIMIT :limit

-- name: create_request
-- Store a request; no row comes back where its cause or its live user_key is known.
INSERT INTO requests ({new_request.columns}, has_secrets, created_at, ended_at)
VALUES ({new_request.values}, :has_secrets, :created_at, :ended_at) ON CONFLICT DO NOTHING RETURNING id

-- name: request_of_cause
-- The request that a cause has made already.
SELECT {request.columns} FROM requests WHERE organization_id = :organization_id AND cause_key = :cause_key

-- name: request_of_user_key
-- The live request with a user_key.
SELECT {request.columns} FROM requests
WHERE organization_id = :organization_id AND user_key = :user_key AND ended_at IS NULL

-- name: request_takes_execution
-- The request's newest execution begins; the request is alive again if it had ended.
UPDATE requests SET execution_id = :execution_id, executions = executions + 1, state = :state,
    started_at = :started_at, ended_at = NULL, error_code = '', error_message = ''
WHERE id = :request_id

-- name: request_goes_on
-- A live request takes over what its newest execution says.
UPDATE requests SET state = :state, started_at = :started_at, error_code = :error_code, error_message = :error_message
WHERE id = :request_id AND execution_id = :execution_id

-- name: request_is_over
-- A request ends with its newest execution.
UPDATE requests SET state = :state, started_at = :started_at, ended_at = :ended_at, error_code = :error_code,
    error_message = :error_message
WHERE id = :request_id AND execution_id = :execution_id

-- name: end_request
-- End a request that has no live execution.
UPDATE requests SET state = :state, reason = :reason, ended_at = :ended_at, error_code = :error_code,
    error_message = :error_message
WHERE id = :id

-- name: reopen_request
-- An ended request waits again, for a new execution.
UPDATE requests SET state = 'PENDING', reason = :reason, started_at = NULL, ended_at = NULL, error_code = '',
    error_message = '', execution_id = NULL, resume_of = CASE WHEN :keep THEN (
        SELECT max(id) FROM executions WHERE request_id = :id
    ) END
WHERE id = :id

-- name: count_live
-- How many live requests are in each state.
SELECT state, count(*) FROM requests WHERE state IN ({live_states}) GROUP BY state

-- name: count_ended
-- How many requests have ended, by state.
SELECT state, sum(requests) FROM ended GROUP BY state

-- name: add_secrets
-- Keep the secret parameters of a live request.
INSERT INTO request_secrets (request_id, params) VALUES (:request_id, :params)

-- name: secrets
-- Secret parameters of a live request.
SELECT params FROM request_secrets WHERE request_id = :request_id

-- name: drop_secrets
-- A request has ended: its secrets go.
DELETE FROM request_secrets WHERE request_id = :request_id

-- name: next_execution
-- The id of the next execution; no id is ever given twice.
SELECT ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'executions'), 0) + 1

-- name: add_execution
-- A new execution.
INSERT INTO executions (id, request_id, organization_id, ended_at, body)
VALUES (:id, :request_id, :organization_id, :ended_at, :body)

-- name: save_execution
-- The execution as it is now.
UPDATE executions SET body = :body, ended_at = :ended_at WHERE id = :id AND request_id = :request_id

-- name: save_live_execution
-- The execution as it is now; it has not ended.
UPDATE executions SET body = :body WHERE id = :id AND request_id = :request_id

-- name: execution
-- One execution: its row, with each of its parts if it has any.
SELECT executions.body, parts.body FROM executions LEFT JOIN execution_parts AS parts ON execution_id = executions.id
WHERE executions.id = :id ORDER BY part LIMIT 1000

-- name: drop_parts
-- The parts of tasks that are no more.
DELETE FROM execution_parts WHERE execution_id = :id AND part >= :part

-- name: put_part
-- Some tasks of an execution as they are now.
INSERT INTO execution_parts (execution_id, part, body) VALUES (:id, :part, :body)
ON CONFLICT (execution_id, part) DO UPDATE SET body = excluded.body

-- name: request_to_begin
-- What a new execution must know of its request, and whether that has a live one already.
SELECT organization_id, user_key, (
    SELECT id FROM executions WHERE executions.id = requests.execution_id AND executions.ended_at IS NULL
) FROM requests WHERE id = :id

-- name: executions_of_request
-- A request's executions, oldest first, each with its parts: more rows than a thousand of the largest have.
SELECT executions.id, executions.body, parts.body
FROM executions LEFT JOIN execution_parts AS parts ON execution_id = executions.id
WHERE request_id = :request_id ORDER BY executions.id, part LIMIT 400000

-- name: live_executions
-- Ids of the executions that have not ended: those that lead a live request.
SELECT execution_id FROM requests WHERE state IN ({live_states}) AND execution_id IS NOT NULL
ORDER BY execution_id LIMIT 100000

-- name: add_plan
-- The plan of an execution, once.
INSERT INTO plans (execution_id, body) VALUES (:execution_id, :body)

-- name: put_list
-- The list of a task that runs once an item.
INSERT INTO lists (execution_id, task_type, body) VALUES (:execution_id, :task_type, :body)
ON CONFLICT (execution_id, task_type) DO UPDATE SET body = excluded.body

-- name: lists
-- The lists of an execution: no more than it has tasks.
SELECT task_type, body FROM lists WHERE execution_id = :execution_id LIMIT 1000

-- name: plan
-- The plan of an execution.
SELECT body FROM plans WHERE execution_id = :execution_id

-- name: leases
-- Every lease.
SELECT {lease.columns} FROM leases ORDER BY task_execution_id LIMIT 100000

-- name: set_lease
-- Give or renew a lease; no row comes back where a newer fence is there.
INSERT INTO leases (organization_id, {lease.columns})
VALUES ((SELECT organization_id FROM executions WHERE id = :execution_id), {lease.values})
ON CONFLICT (task_execution_id) DO UPDATE SET ant_id = excluded.ant_id, fence = excluded.fence,
    deadline = excluded.deadline WHERE excluded.fence >= leases.fence
RETURNING fence

-- name: extend_lease
-- Move the deadline of a lease whose fence is still right.
UPDATE leases SET deadline = :deadline
WHERE task_execution_id = :task_execution_id AND fence = :fence AND ant_id = :ant_id

-- name: drop_lease
-- An attempt has ended or is given back.
DELETE FROM leases WHERE task_execution_id = :task_execution_id

-- name: drop_leases
-- An execution has ended: the leases of its task executions (`<execution id>-<n>`) go.
DELETE FROM leases
WHERE task_execution_id > :execution_id || '-' AND task_execution_id < :execution_id || '.'

-- name: repositories
-- Every repository.
SELECT {repository.columns} FROM repositories ORDER BY id LIMIT 10000

-- name: repository
-- One repository.
SELECT {repository.columns} FROM repositories WHERE id = :id

-- name: repository_named
-- An organization's repository by name.
SELECT {repository.columns} FROM repositories WHERE organization_id = :organization_id AND name = :name

-- name: add_repository
-- A new repository.
INSERT INTO repositories ({repository.columns_but_id}) VALUES ({repository.values_but_id}) RETURNING id

-- name: save_repository
-- A repository as it is now.
UPDATE repositories SET {repository.assignments} WHERE id = :id

-- name: delete_repository
-- A repository goes, and with it its refs, definitions and tokens.
DELETE FROM repositories WHERE id = :id

-- name: refs
-- The refs of a repository as the last look found them.
SELECT {ref.columns} FROM refs WHERE repository_id = :repository_id LIMIT 1000000

-- name: put_ref
-- A ref as this look found it.
INSERT INTO refs ({ref.columns}) VALUES ({ref.values})
ON CONFLICT (repository_id, ref) DO UPDATE SET "commit" = excluded."commit", generation = excluded.generation,
    gone = excluded.gone

-- name: definitions_of_repository
-- The definitions of a repository, by name.
SELECT {definition.columns} FROM definitions WHERE repository_id = :repository_id ORDER BY job_type, id LIMIT 10000

-- name: definitions_of_organization
-- The definitions of an organization, by name.
SELECT {definition.columns} FROM definitions WHERE organization_id = :organization_id
ORDER BY job_type, id LIMIT 10000

-- name: definitions
-- Every definition, oldest first.
SELECT {definition.columns} FROM definitions ORDER BY id LIMIT 10000

-- name: definition
-- One definition.
SELECT {definition.columns} FROM definitions WHERE id = :id

-- name: definitions_named
-- The definitions of an organization that have a name and are still there; two are enough to know that it is not the
-- only one.
SELECT {definition.columns} FROM definitions WHERE organization_id = :organization_id AND job_type = :job_type
    AND state <> 'Orphaned' ORDER BY id LIMIT 2

-- name: definition_of_repository
-- A repository's definition by name; one that has a good version first.
SELECT {definition.columns} FROM definitions WHERE repository_id = :repository_id AND job_type = :job_type
ORDER BY version_id IS NULL, id LIMIT 1

-- name: add_definition
-- A new definition.
INSERT INTO definitions ({definition.columns_but_id}) VALUES ({definition.values_but_id}) RETURNING id

-- name: save_definition
-- A definition as it is now.
UPDATE definitions SET {definition.assignments} WHERE id = :id

-- name: delete_definition
-- A definition goes; its versions are history and stay.
DELETE FROM definitions WHERE id = :id

-- name: version
-- One version.
SELECT {version.columns} FROM versions WHERE id = :id

-- name: version_of_digest
-- The version with a text that is known.
SELECT {version.columns} FROM versions
WHERE organization_id = :organization_id AND ifnull(repository_id, 0) = ifnull(:repository_id, 0)
    AND job_type = :job_type AND digest = :digest

-- name: last_version_number
-- The newest number of a job.
SELECT version FROM versions
WHERE organization_id = :organization_id AND ifnull(repository_id, 0) = ifnull(:repository_id, 0)
    AND job_type = :job_type ORDER BY version DESC LIMIT 1

-- name: add_version
-- A new version.
INSERT INTO versions ({version.columns_but_id}) VALUES ({version.values_but_id}) RETURNING id

-- name: versions_of_job
-- The versions of a job, newest first.
SELECT {version.columns} FROM versions
WHERE organization_id = :organization_id AND ifnull(repository_id, 0) = ifnull(:repository_id, 0)
    AND job_type = :job_type ORDER BY version DESC LIMIT :limit OFFSET :offset

-- name: count_versions
-- How many versions a job has.
SELECT count(*) FROM versions
WHERE organization_id = :organization_id AND ifnull(repository_id, 0) = ifnull(:repository_id, 0)
    AND job_type = :job_type

-- name: cron_last
-- When a definition's schedule was last looked at.
SELECT last FROM crons WHERE definition_id = :definition_id

-- name: set_cron_last
-- A definition's schedule was looked at.
INSERT INTO crons (definition_id, last) VALUES (:definition_id, :last)
ON CONFLICT (definition_id) DO UPDATE SET last = excluded.last

-- name: artifact
-- One artifact.
SELECT {artifact.columns} FROM artifacts WHERE id = :id

-- name: artifacts_expired
-- Artifacts whose time is over, the oldest expiry first.
SELECT {artifact.columns} FROM artifacts WHERE expires_at IS NOT NULL AND expires_at <= :now
ORDER BY expires_at LIMIT :limit

-- name: reports
-- What the attempts of a request have reported, in the order in which it came: no more than it has attempts.
SELECT {report.columns} FROM reports WHERE request_id = :request_id ORDER BY id LIMIT 100000

-- name: report
-- One report.
SELECT {report.columns} FROM reports WHERE id = :id

-- name: report_of_attempt
-- What an attempt has reported.
SELECT {report.columns} FROM reports WHERE task_execution_id = :task_execution_id

-- name: add_report
-- A new report.
INSERT INTO reports ({report.columns_but_id}) VALUES ({report.values_but_id}) RETURNING id

-- name: add_report_case
-- One of its tests.
INSERT INTO report_cases ({report_case.columns}) VALUES ({report_case.values})

-- name: add_report_lines
-- One of its files.
INSERT INTO report_lines ({report_lines.columns}) VALUES ({report_lines.values})

-- name: failing_cases
-- The first of its tests that went wrong.
SELECT {report_case.columns} FROM report_cases WHERE report_id = :report_id AND verdict IN ('failed', 'error')
ORDER BY number LIMIT :limit

-- name: artifacts_due
-- Artifacts of an organization whose time is over, the oldest expiry first.
SELECT {artifact.columns} FROM artifacts INDEXED BY artifacts_expiry
WHERE expires_at IS NOT NULL AND expires_at <= :now AND organization_id = :organization_id
ORDER BY expires_at LIMIT :limit

-- name: artifacts_older
-- Artifacts that a repository's ended requests kept before then, the oldest first.
SELECT {artifact.columns} FROM artifacts WHERE repository_id = :repository_id AND created_at < :before
    AND EXISTS (SELECT 1 FROM requests WHERE requests.id = artifacts.request_id AND ended_at IS NOT NULL)
ORDER BY id LIMIT :limit

-- name: usage_of_digest
-- How many artifacts name these bytes.
SELECT count(*) FROM artifacts WHERE digest = :digest

-- name: add_artifact
-- A new artifact.
INSERT INTO artifacts ({artifact.columns_but_id}) VALUES ({artifact.values_but_id}) RETURNING id

-- name: delete_artifact
-- An artifact's row goes; its digest is noted as loose.
DELETE FROM artifacts WHERE id = :id

-- name: loose_digests
-- Digests of deleted artifacts that no other artifact names.
SELECT digest FROM loose_digests AS loose
WHERE NOT EXISTS (SELECT 1 FROM artifacts WHERE artifacts.digest = loose.digest) ORDER BY digest LIMIT :limit

-- name: forget_digest
-- The bytes of a loose digest are gone.
DELETE FROM loose_digests WHERE digest = :digest

-- name: delivery
-- One delivery by its key.
SELECT {delivery.columns} FROM deliveries WHERE forge = :forge AND delivery_key = :delivery_key

-- name: delivery_by_id
-- One delivery by its number.
SELECT {delivery.columns} FROM deliveries WHERE id = :id

-- name: add_delivery
-- A new delivery; no row comes back where its key is known.
INSERT INTO deliveries ({delivery.columns_but_id}) VALUES ({delivery.values_but_id})
ON CONFLICT (forge, delivery_key) DO NOTHING RETURNING id

-- name: save_delivery
-- What became of a delivery; what came never changes.
UPDATE deliveries SET repository_id = :repository_id, verdict = :verdict, reason = :reason, request_ids = :request_ids
WHERE id = :id

-- name: delivery_of_body
-- The first delivery of a repository with this body.
SELECT {delivery.columns} FROM deliveries WHERE repository_id = :repository_id AND body_digest = :body_digest
ORDER BY id LIMIT 1

-- name: pull_request
-- A pull request by its number.
SELECT {pull_request.columns} FROM pull_requests WHERE repository_id = :repository_id AND number = :number

-- name: open_pull_requests
-- Those of a repository that are open, as far as anybody has told.
SELECT {pull_request.columns} FROM pull_requests WHERE repository_id = :repository_id AND state = 'open'
ORDER BY number LIMIT 10000

-- name: put_pull_request
-- A pull request as its forge tells of it.
INSERT OR REPLACE INTO pull_requests ({pull_request.columns}) VALUES ({pull_request.values})

-- name: accepted_deliveries
-- Deliveries of a repository that nobody has looked at yet, oldest first.
SELECT {delivery.columns} FROM deliveries WHERE repository_id = :repository_id AND verdict = 'accepted'
ORDER BY id LIMIT 10000

-- name: resources
-- Every shared resource of all organizations.
SELECT {resource.columns} FROM resources ORDER BY id LIMIT 10000

-- name: resource
-- One shared resource.
SELECT {resource.columns} FROM resources WHERE id = :id

-- name: error_codes
-- The error codes of an organization, the oldest first.
SELECT {error_code.columns} FROM error_codes WHERE organization_id = :organization_id ORDER BY id LIMIT 10000

-- name: error_code
-- One error code.
SELECT {error_code.columns} FROM error_codes WHERE id = :id

-- name: add_error_code
-- A new error code.
INSERT INTO error_codes ({error_code.columns_but_id}) VALUES ({error_code.values_but_id}) RETURNING id

-- name: save_error_code
-- An error code as it is now.
UPDATE error_codes SET {error_code.assignments} WHERE id = :id

-- name: delete_error_code
-- An error code goes.
DELETE FROM error_codes WHERE id = :id

-- name: add_resource
-- A new shared resource.
INSERT INTO resources ({resource.columns_but_id}) VALUES ({resource.values_but_id}) RETURNING id

-- name: save_resource
-- A shared resource as it is now.
UPDATE resources SET {resource.assignments} WHERE id = :id

-- name: delete_resource
-- A shared resource is gone.
DELETE FROM resources WHERE id = :id

-- name: secret_heads
-- Every secret of an organization, without its value.
SELECT {secret.columns} FROM secrets WHERE organization_id = :organization_id ORDER BY id LIMIT 10000

-- name: secret
-- One secret, without its value.
SELECT {secret.columns} FROM secrets WHERE id = :id

-- name: sealed_secret
-- One secret with its sealed value.
SELECT {secret.columns}, sealed FROM secrets WHERE id = :id

-- name: secret_of_scope
-- The secret of this scope, kind and name.
SELECT {secret.columns} FROM secrets
WHERE organization_id = :organization_id AND ifnull(repository_id, 0) = ifnull(:repository_id, 0)
    AND job_type = :job_type AND kind = :kind AND name = :name

-- name: secret_keys
-- The keys that secrets are sealed with, each with how many.
SELECT key_id, count(*) FROM secrets GROUP BY key_id LIMIT 1000

-- name: add_secret
-- A new secret.
INSERT INTO secrets ({secret.columns_but_id}, sealed) VALUES ({secret.values_but_id}, :sealed) RETURNING id

-- name: save_secret
-- A secret has another value, or other limits.
UPDATE secrets SET {secret.assignments}, sealed = :sealed WHERE id = :id

-- name: delete_secret
-- A secret goes.
DELETE FROM secrets WHERE id = :id

-- name: tokens
-- Every token, oldest first.
SELECT {token.columns} FROM tokens ORDER BY id LIMIT 10000

-- name: token_by_digest
-- The token with this digest.
SELECT {token.columns} FROM tokens WHERE digest = :digest

-- name: add_token
-- A new token.
INSERT INTO tokens ({token.columns_but_id}) VALUES ({token.values_but_id}) RETURNING id

-- name: delete_token
-- Revoke a token.
DELETE FROM tokens WHERE id = :id

-- name: touch_token
-- A token was used.
UPDATE tokens SET used_at = :at WHERE id = :id

-- name: outbox_entry
-- One of what is owed.
SELECT {outbox.columns} FROM outbox WHERE id = :id

-- name: outbox_since
-- Living effects that are newer than one, in the order in which they were owed.
SELECT {outbox.columns} FROM outbox WHERE id > :after AND dead = 0 ORDER BY id LIMIT :limit

-- name: outbox_counts
-- How many effects are owed and not given up, since when, and how many dead letters there are.
SELECT count(*) - ifnull(sum(dead), 0), min(CASE WHEN dead = 0 THEN created_at END), ifnull(sum(dead), 0) FROM outbox

-- name: owe
-- Add an effect. The older one of its key goes; the new one gets a new id, so that a late `settle` of the older one
-- cannot take it away. It is owed since the older one was, and not later than that one would have been first tried.
INSERT OR REPLACE INTO outbox (organization_id, kind, key, created_at, due_at, payload)
SELECT :organization_id, :kind, :key, ifnull(min(created_at), :now),
    min(:due_at, ifnull(min(CASE WHEN attempts = 0 THEN due_at END), :due_at)), :payload
FROM outbox WHERE organization_id = :organization_id AND kind = :kind AND key = :key

-- name: next_seq
-- The number of an organization's next event.
INSERT INTO sequences (organization_id, seq) VALUES (:organization_id, 1)
ON CONFLICT (organization_id) DO UPDATE SET seq = seq + 1 RETURNING seq

-- name: owed_before
-- The living effects from the key `first` to below `key`.
SELECT {outbox.columns} FROM outbox
WHERE organization_id = :organization_id AND kind = :kind AND key >= :first AND key < :key AND dead = 0
ORDER BY key LIMIT :limit

-- name: request_before
-- The last request before this one, of the same job on the same ref, that ended well or badly.
SELECT {request.columns} FROM requests
WHERE repository_id IS :repository_id AND ref = :ref AND job_type = :job_type AND id < :id AND ended_at IS NOT NULL
    AND organization_id = :organization_id AND state IN (:one, :other)
ORDER BY id DESC LIMIT 1

-- name: settle
-- An effect is done.
DELETE FROM outbox WHERE id = :id

-- name: defer
-- An effect did not work: try it later, or never again.
UPDATE outbox SET attempts = attempts + :tried, due_at = :due_at, error = :error, dead = :dead WHERE id = :id

-- name: resend
-- An effect is owed anew, from now, with all its attempts before it; it has a new id, as every newly owed one.
INSERT OR REPLACE INTO outbox (organization_id, kind, key, created_at, due_at, payload)
SELECT organization_id, kind, key, :now, 0, payload FROM outbox WHERE id = :id RETURNING {outbox.columns}

-- name: add_audit
-- Somebody did something.
INSERT INTO audits ({audit.columns_but_id}) VALUES ({audit.values_but_id})

-- name: expire_dead_letters
-- Dead letters of long ago go.
DELETE FROM outbox WHERE dead = 1 AND due_at < :before

-- name: requests_to_expire
-- Requests that ended long ago, the oldest first; not those whose definitions say how long they are kept.
SELECT id FROM requests WHERE ended_at IS NOT NULL AND ended_at < :before
    AND NOT EXISTS (SELECT 1 FROM kept WHERE request_id = requests.id)
ORDER BY ended_at LIMIT :limit

-- name: requests_kept_until
-- Requests that their definitions keep no longer.
SELECT request_id FROM kept WHERE until < :now ORDER BY until LIMIT :limit

-- name: keep_until
-- An ended request is kept until then.
INSERT OR REPLACE INTO kept (request_id, until) VALUES (:request_id, :until)

-- name: keep_no_longer
-- A request that runs again has no end yet.
DELETE FROM kept WHERE request_id = :request_id

-- name: delete_request
-- A request goes, and with it its executions, plans and artifact rows.
DELETE FROM requests WHERE id = :id

-- name: call_done
-- What a call that has changed something had asked.
SELECT asked FROM calls WHERE name = :name AND at >= :since

-- name: note_call
-- A change is of a call that may be asked again.
INSERT OR REPLACE INTO calls (name, asked, at) VALUES (:name, :asked, :now)

-- name: forget_call
-- A call came to nothing, and may be asked again.
DELETE FROM calls WHERE name = :name

-- name: expire_calls
-- Calls of long ago go.
DELETE FROM calls WHERE at < :before

-- name: expire_deliveries
-- Deliveries of long ago go.
DELETE FROM deliveries WHERE id IN (
    SELECT id FROM deliveries WHERE received_at < :before ORDER BY received_at LIMIT :limit
)

-- name: plugins
-- Versions of plugins that an organization may fork, the oldest first: its own, and those that are public.
SELECT {plugin.columns} FROM plugins
WHERE organization_id = :organization_id OR public ORDER BY id LIMIT 100000

-- name: plugins_of_job
-- Those of one job.
SELECT {plugin.columns} FROM plugins
WHERE job_type = :job_type AND (organization_id = :organization_id OR public) LIMIT 100000

-- name: plugin
-- One version of a plugin.
SELECT {plugin.columns} FROM plugins WHERE id = :id

-- name: put_plugin
-- A version of a plugin; a pre-release takes the place of the one that was called so before.
INSERT INTO plugins ({plugin.columns_but_id}) VALUES ({plugin.values_but_id})
ON CONFLICT (job_type, repository_id, plain) DO UPDATE SET sem_version = excluded.sem_version,
public = excluded.public, version_id = excluded.version_id, digest = excluded.digest, "commit" = excluded."commit",
created_at = excluded.created_at RETURNING id
