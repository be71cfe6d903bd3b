-- :size callbacks in one commit, each of which ends its job with a number: finished job, ledger, usage, search,
-- lookup and the callback itself.
\set n :n + 1
WITH gone AS (
    DELETE FROM jobs
     USING people
     WHERE people.turn = :client_id::int + :clients::int * :n::int
       AND jobs.id = people.job_id
    RETURNING jobs.*
), kept AS (
    INSERT INTO finished_jobs (id, search_id, lookup_id, source, provider, state, answered_by, attempt, polls, request_id,
                               credits, possible, reserved_on, submitted_at)
    SELECT id, search_id, lookup_id, source, provider, 'answered', 'callback', attempt, polls, request_id,
           reserved, 0, reserved_on, submitted_at
      FROM gone
), entered AS (
    INSERT INTO ledger (job_id, lookup_id, provider, kind, credits, day)
    SELECT id, lookup_id, provider, 'charged', 3, reserved_on
      FROM gone
), counted AS (
    INSERT INTO usage (provider, source, day, slot, reserved, charged, found)
    SELECT provider, source, reserved_on, :client_id::int % 16, -sum(reserved), sum(reserved), count(*)
      FROM gone
     GROUP BY provider, source, reserved_on
        ON CONFLICT (provider, source, day, slot) DO UPDATE
       SET reserved = usage.reserved + excluded.reserved,
           charged = usage.charged + excluded.charged,
           found = usage.found + excluded.found
), ended AS (
    UPDATE searches
       SET said = jsonb_build_object(gone.provider, 'answered'),
           numbers = jsonb_build_object(gone.provider, jsonb_build_object(
                         'mobile', '+14155552671', 'raw', '+14155552671', 'region', 'US', 'line_type', 'unknown')),
           status = 'found', ended_at = now()
      FROM gone
     WHERE searches.id = gone.search_id
), followed AS (
    UPDATE lookups
       SET final_status = 'found', finished_at = now(), mobile = '+14155552671', mobile_raw = '+14155552671',
           region = 'US', line_type = 'unknown', provider = gone.provider
      FROM gone
     WHERE lookups.id = gone.lookup_id
)
INSERT INTO callbacks (job_id, body_hash, provider, lookup_id, body, verdict)
SELECT id, decode(md5(id::text), 'hex'), provider, lookup_id, convert_to(repeat('x', 290), 'UTF8'), 'applied'
  FROM gone;
