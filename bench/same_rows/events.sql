-- :size events of new persons in one commit, as the receiver takes them in: event, keys, lookup and first job.
\set n :n + 1
WITH mine AS (
    SELECT * FROM people WHERE turn = :client_id::int + :clients::int * :n::int
), event AS (
    INSERT INTO events (id, source, body)
    SELECT event_id, 'generic', convert_to(repeat('x', 230), 'UTF8')
      FROM mine
), key AS (
    INSERT INTO keys (key, lookup_id)
    SELECT decode(md5(concat(lookup_id, what)), 'hex'), lookup_id
      FROM mine
     CROSS JOIN (VALUES ('event'), ('profile'), ('email')) AS kind (what)
), lookup AS (
    INSERT INTO lookups (id, event_id, source, record_id, profile_url, work_email, name, company, region_hint,
                         providers)
    SELECT lookup_id, event_id, 'generic', concat('crm-', place), concat('linkedin.com/in/person-', place),
           concat('person-', place, '@acme.co'), concat('Jane Doe ', place), 'Acme', 'US', '{leadmagic,nyne}'
      FROM mine
)
INSERT INTO jobs (id, lookup_id, provider, todo)
SELECT job_id, lookup_id, 'leadmagic', '{nyne}'
  FROM mine;
