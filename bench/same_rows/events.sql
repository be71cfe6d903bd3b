-- :size events of new contacts in one commit, as the receiver takes them in: event, fingerprint, keys, lookup, search
-- and first job.
\set n :n + 1
WITH mine AS (
    SELECT *, ARRAY[decode(md5(concat(lookup_id, 'profile')), 'hex'),
                    decode(md5(concat(lookup_id, 'e-mail')), 'hex')] AS keys
      FROM people
     WHERE turn = :client_id::int + :clients::int * :n::int
), event AS (
    INSERT INTO events (id, source, body)
    SELECT event_id, 'generic', convert_to(repeat('x', 230), 'UTF8')
      FROM mine
), fingerprint AS (
    INSERT INTO fingerprints (fingerprint, lookup_id)
    SELECT decode(md5(concat(lookup_id, 'event')), 'hex'), lookup_id
      FROM mine
), key AS (
    INSERT INTO keys (key, searches)
    SELECT unnest(keys), ARRAY[search_id]
      FROM mine
), search AS (
    INSERT INTO searches (id, begun_for, keys, asked, providers, slug, names)
    SELECT search_id, lookup_id, keys, keys, '{leadmagic,nyne}', keys[1], ARRAY[concat('Jane Doe ', place)]
      FROM mine
), lookup AS (
    INSERT INTO lookups (id, event_id, source, record_id, profile_url, work_email, name, company, region_hint,
                         providers, keys, identifiers, search_id)
    SELECT lookup_id, event_id, 'generic', concat('crm-', place), concat('linkedin.com/in/person-', place),
           concat('person-', place, '@acme.co'), concat('Jane Doe ', place), 'Acme', 'US', '{leadmagic,nyne}',
           keys, keys, search_id
      FROM mine
)
INSERT INTO jobs (id, search_id, lookup_id, source, provider, todo)
SELECT job_id, search_id, lookup_id, 'generic', 'leadmagic', '{nyne}'
  FROM mine;
