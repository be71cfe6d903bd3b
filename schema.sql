-- Ringback: the whole database.
--
-- A CRM sends an event. Each contact in it becomes a lookup: one wish for that person's mobile number. The paid work is
-- a search: it asks one provider after another about one contact's identifiers. A question to one provider is a job.
-- Any number of lookups share the answer of one search.
--
--     event -> lookups, each with the hashed keys of its contact -> keys -> searches
--     lookup -> the search that it waits for, or took its answer from
--     search -> jobs, one at a time -> finished jobs
--     CRM's event or sweep -> readings, one for each contact of the CRM -> lookups
--     a file of contacts -> campaign, with a row for each of the file's -> lookups
--     lookup's end -> deliveries: to the result webhook, and to the CRM that its contact came from
--
--     job:   queued --claim--> submitting --answer------------------------> answered   (inline)
--               ^                  |  '----accepted----> awaiting --answer--> answered   (callback or poll)
--               '-----retry--------'                         |
--                                  |                         |
--                 failed  <--------+-------------------------+   the provider refused, or said failed
--                 unknown <--------+-------------------------+   asked, and the outcome cannot be known
--                 lost    <----------------------------------'   forgotten by the provider, or past its deadline
--
--     lookup:  queued -> running -> found | not_found | failed | unresolved | suppressed | cancelled
--              held      waits for budget, a paused provider, the flood guard or the brake
--
--     reading:  queued -> reading -> done | skipped; named again, it is queued again
--     delivery: queued -> sending -> delivered | refused | given_up | skipped
--     campaign: reading -> read -> sampling -> quoted -> running -> done | stopped
--
-- There is no row for a person: searches are the only record of one. A search's answer is for lookups that themselves
-- hold one of its keys; a key that a third contact brought passes no answer on. An address that leads to people who
-- contradict each other is shared from then on, and no longer a key. enrichment/decide.py has the rules.
--
-- Who writes what. The receiver writes events, lookups and searches with their first jobs, and applies callbacks. The
-- submitter claims jobs (the claim is the committed intent to pay: attempt, lease, credits reserved), asks, and writes
-- the outcome. The reconciler polls jobs without a callback, takes over the jobs of a dead submitter, and ends jobs
-- that passed their deadline. All three finish a job through one statement (store/finish.py): it takes the row out of
-- `jobs`, so the first process to do so wins, and it ends the search or queues the next provider. That commit is the
-- end. The search's lookups follow in chunks (store/ends.py), most of them in the same commit; a search with lookups
-- that have yet to follow is `unswept`.
--
-- Open jobs are in `jobs`, which is small and busy. Ended jobs are in `finished_jobs`, and written once. So the cost of
-- a claim, a sweep or a rescue depends on the jobs that are due, never on history.
--
-- Of the callbacks of one job, a few bodies are stored besides those that changed something (store/callbacks.py). The row
-- with an empty body_hash counts the others in `times`.
--
-- A lookup's open status is not stored, because it could disagree with its job: `lookup_status` reads it from the open
-- job of its search. Only the final status is a column.
--
-- Order of locks, everywhere: readings, fingerprints and keys (sorted), jobs, searches (sorted), lookups, the rest.
--
-- On Citus: searches, jobs, finished_jobs, callbacks and ledger are distributed by search_id; lookups by id. `limits`,
-- `providers` and `usage` (budgets) are small and shared by all shards. Only keys and searches cross shards. There are
-- no foreign keys, so that history can be dropped by partition; one transaction writes rows that belong together.
--
-- History is partitioned by month: events, lookups, searches, finished_jobs, callbacks, ledger and deliveries, by the
-- UUIDv7 at the start of their primary key. Its first 48 bits are the milliseconds of its creation, so a month is a range of ids, and
-- every id shows its month. store/partitions.py makes the months ahead (`ringback migrate`, and the reconciler), and
-- store/prune.py drops them (`ringback prune`). A row whose month does not exist goes to the default partition: nothing
-- is lost if a month was not made. A month takes its storage options from the default partition, because a partitioned
-- table has none.
--
-- This file is also its own history: `ringback migrate` applies the steps in order, each once, and keeps their
-- checksums, so a released step never changes. To change the database, add a step below the last one, and run
-- `make freeze`, which measures its locks and writes store/steps.json. Rules for a step, each of them a test:
--
-- * Programs of the previous release work with it, and restart on it. So it only adds: tables, columns that are nullable
--   or have a constant default, indexes, constraints that the previous release keeps. What a release no longer uses is
--   taken away by a step of a later release, whose title ends with `(needs step N)`: programs that do not know step N
--   refuse the database from then on.
-- * It runs in one transaction and holds no lock for longer than a moment: it reads no table from end to end. A
--   constraint is added as NOT VALID.
-- * What reads a whole table (an index, VALIDATE CONSTRAINT) belongs into a step whose title ends with
--   `(concurrently)`. Its statements run one by one outside a transaction, and again after a crash: IF NOT EXISTS. On a
--   partitioned table, the index is built on each partition, and then attached.

-- step 1: the job protocol

CREATE TYPE job_state AS ENUM (
    'queued',      -- waits until due_at, or for budget or provider while held
    'submitting',  -- claimed by one submitter until lease_expires_at; the question may be on the wire
    'awaiting',    -- the provider has the question; polled, or given up, at due_at
    'answered',    -- final: the provider looked; with a number or without
    'failed',      -- final: the provider refused, or said failed
    'unknown',     -- final: asked, outcome not known, perhaps charged; a late answer still counts
    'lost'         -- final: the provider forgot it, or its deadline passed; a late answer still counts
);

CREATE TYPE final_status AS ENUM ('found', 'not_found', 'failed', 'unresolved', 'suppressed', 'cancelled');

CREATE TYPE search_status AS ENUM (
    'found',       -- at least one provider gave a number
    'not_found',   -- every job answered, without one
    'failed',      -- at least one job failed
    'unresolved',  -- at least one is unknown or lost, or was when this search began
    'suppressed',  -- its person or number is suppressed: what a provider said was not kept
    'dropped'      -- no provider was asked: its lookups had their number, were cancelled, or are suppressed
);

-- Returns the final status of a search without a number.
CREATE FUNCTION search_verdict(said jsonb, is_doubtful boolean) RETURNS search_status LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN is_doubtful OR said @? '$.* ? (@ == "unknown" || @ == "lost")' THEN 'unresolved'
                WHEN said @? '$.* ? (@ == "failed")'                                THEN 'failed'
                ELSE 'not_found' END::search_status
$$;

-- Makes a UUIDv7 where only the statement knows how many rows it writes: 48 bits of milliseconds, then chance.
CREATE FUNCTION new_id() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
                                          PLACING substring(int8send((EXTRACT(epoch FROM clock_timestamp()) * 1000)::bigint)
                                                            FROM 3)
                                          FROM 1 FOR 6),
                                  52, 1), 53, 1), 'hex')::uuid
$$;

CREATE TABLE events (
    id           uuid        NOT NULL PRIMARY KEY,  -- UUIDv7, made by us
    source       text        NOT NULL,
    received_at  timestamptz NOT NULL DEFAULT now(),
    body         bytea       NOT NULL               -- verbatim, for replay
) PARTITION BY RANGE (id);
CREATE TABLE events_default PARTITION OF events DEFAULT;

CREATE TABLE lookups (
    id              uuid          NOT NULL PRIMARY KEY,  -- UUIDv7: order of creation
    event_id        uuid          NOT NULL,
    source          text          NOT NULL,
    record_id       text,                                -- the CRM's own name for the contact
    profile_url     text,
    work_email      text,
    personal_email  text,
    name            text,
    company         text,
    region_hint     text,
    providers       text[]        NOT NULL,              -- who may be asked, in this order
    problems        jsonb,                               -- fields of the event that could not be used
    keys            bytea[]       NOT NULL,              -- hashes: which searches may answer it
    identifiers     bytea[]       NOT NULL,              -- those of them that providers are asked about
    search_id       uuid          NOT NULL,              -- the search it waits for, or took its answer from
    reused_from     uuid,                                -- the lookup that search began for, if it is another one
    insists         boolean       NOT NULL DEFAULT false,-- a person retried it, and it has yet to be decided for that
    created_at      timestamptz   NOT NULL DEFAULT now(),

    final_status    final_status,
    finished_at     timestamptz,
    mobile          text,
    mobile_raw      text,                                -- as the provider wrote it
    region          text,
    line_type       text,
    provider        text,                                -- whose number it is
    reason          text,                                -- why there is no number
    refused         text[]        NOT NULL DEFAULT '{}', -- numbers that a person called wrong here: never given again

    CONSTRAINT a_contact_has_an_identifier
        CHECK (COALESCE(profile_url, work_email, personal_email, name) IS NOT NULL),
    CONSTRAINT a_provider_may_be_asked
        CHECK (cardinality(providers) > 0),
    CONSTRAINT identifiers_are_keys
        CHECK (cardinality(identifiers) > 0 AND identifiers <@ keys),
    CONSTRAINT finished_exactly_when_final
        CHECK ((finished_at IS NOT NULL) = (final_status IS NOT NULL)),
    CONSTRAINT mobile_exactly_when_found
        CHECK ((mobile IS NOT NULL) = (final_status IS NOT DISTINCT FROM 'found')),
    CONSTRAINT mobile_has_a_provider
        CHECK (mobile IS NULL OR provider IS NOT NULL),
    CONSTRAINT mobile_is_e164
        CHECK (mobile ~ '^\+[1-9][0-9]{2,14}$'),
    CONSTRAINT reused_from_another
        CHECK (reused_from <> id),
    CONSTRAINT insists_only_while_open
        CHECK (NOT insists OR final_status IS NULL)
) PARTITION BY RANGE (id);
-- Every lookup is written twice, at its beginning and at its end: vacuum and analyze by less than the usual fifth, so
-- that the planner knows the new month before it is large.
CREATE TABLE lookups_default PARTITION OF lookups DEFAULT WITH (
    autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05
);
CREATE INDEX lookups_by_status ON lookups (final_status, id);
-- Which ended lately, of an old month: `ringback prune` asks while all processes wait.
CREATE INDEX lookups_by_end    ON lookups USING brin (finished_at) WITH (autosummarize = on);
-- The lists of one source, by status and of all statuses.
CREATE INDEX lookups_by_source ON lookups (source, final_status, id);
CREATE INDEX lookups_by_mobile ON lookups (mobile, id) WHERE mobile IS NOT NULL;
-- Those that wait for a search that began for another lookup, or took its answer: found by an e-mail or a profile.
CREATE INDEX lookups_of_others ON lookups (search_id, id) WHERE reused_from IS NOT NULL;
CREATE INDEX lookups_by_record ON lookups (record_id, id) WHERE record_id IS NOT NULL;
-- Those that a number may still reach. A late one reaches them through the searches of its keys.
CREATE INDEX lookups_numberless ON lookups (search_id, id)
    WHERE final_status IS NULL OR final_status IN ('not_found', 'failed', 'unresolved');
-- The few open lookups that wait for a search that began for another lookup, or to be decided after a retry.
CREATE INDEX lookups_joined ON lookups (id) WHERE (reused_from IS NOT NULL OR insists) AND final_status IS NULL;

-- The paid work on one contact's identifiers, and the facts about that person. Open while it has a job.
CREATE TABLE searches (
    id           uuid        NOT NULL PRIMARY KEY,      -- UUIDv7
    begun_for    uuid        NOT NULL,                  -- the lookup whose contact is asked about
    keys         bytea[]     NOT NULL,                  -- its answer is shared under these; contested ones are removed
    asked        bytea[]     NOT NULL,                  -- hashes of all that its question names, domains as well
    providers    text[]      NOT NULL,                  -- the providers that its answer covers
    slug         bytea,                                 -- facts: hashes of the public slug and of the member id,
    member       bytea,
    names        text[]      NOT NULL DEFAULT '{}',     --        and names that agree
    is_doubtful  boolean     NOT NULL DEFAULT false,    -- an earlier answer was in doubt when it began
    is_retry     boolean     NOT NULL DEFAULT false,    -- a person asked for it
    said         jsonb       NOT NULL DEFAULT '{}',     -- provider -> state in which its job ended, or 'asked'
    numbers      jsonb       NOT NULL DEFAULT '{}',     -- provider -> {mobile, raw, region, line_type, needs_region}
    wrong        text[]      NOT NULL DEFAULT '{}',     -- numbers that a person reported wrong: never given
    status       search_status,
    reason       text,
    ended_at     timestamptz,
    unswept      boolean     NOT NULL DEFAULT false,    -- it has ended, and some of its lookups have yet to follow

    CONSTRAINT ended_exactly_with_a_status
        CHECK ((ended_at IS NOT NULL) = (status IS NOT NULL)),
    CONSTRAINT unswept_only_after_its_end
        CHECK (NOT unswept OR ended_at IS NOT NULL),
    CONSTRAINT a_search_asks_about_something
        CHECK (cardinality(asked) > 0 AND cardinality(providers) > 0)
) PARTITION BY RANGE (id);
CREATE TABLE searches_default PARTITION OF searches DEFAULT WITH (
    fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05
);
-- By id, which never changes: so a search that ends without leaving a lookup behind changes no index.
CREATE INDEX searches_unswept ON searches (id) WHERE unswept;

-- Which searches know of an identifier. A key is a hash; a shared one is an address of several people, not used.
CREATE TABLE keys (
    key       bytea   NOT NULL PRIMARY KEY,
    shared    boolean NOT NULL DEFAULT false,
    searches  uuid[]  NOT NULL,
    CONSTRAINT key_is_a_hash CHECK (octet_length(key) = 16),
    CONSTRAINT a_shared_key_leads_nowhere CHECK (NOT shared OR searches = '{}')
) WITH (fillfactor = 85);

-- The secret with which identifiers are hashed, unless IDENTITY_KEY holds it; and a fingerprint of it.
CREATE TABLE installation (
    only_row              boolean NOT NULL PRIMARY KEY DEFAULT true,
    identity_key          bytea,
    identity_fingerprint  bytea   NOT NULL,
    CONSTRAINT one_installation CHECK (only_row)
);

-- How far each table's raw bodies have been emptied (RETAIN_DAYS): up to this id.
CREATE TABLE retention (
    name       text NOT NULL PRIMARY KEY,
    walked_to  uuid NOT NULL
);

-- The same event again has the same fingerprint, and leads to the lookup that it made.
CREATE TABLE fingerprints (
    fingerprint  bytea NOT NULL PRIMARY KEY,
    lookup_id    uuid  NOT NULL,
    CONSTRAINT fingerprint_is_a_hash CHECK (octet_length(fingerprint) = 16)
) WITH (fillfactor = 90);
-- Those of a person who is erased: they lie about in the order of their lookups.
CREATE INDEX fingerprints_by_lookup ON fingerprints USING brin (lookup_id) WITH (autosummarize = on);

-- The outstanding questions. At most one per search.
CREATE TABLE jobs (
    id                uuid          NOT NULL PRIMARY KEY,
    search_id         uuid          NOT NULL,
    lookup_id         uuid          NOT NULL,             -- the lookup that its search began for
    source            text          NOT NULL,             -- whose budget pays for it
    provider          text          NOT NULL,
    state             job_state     NOT NULL DEFAULT 'queued',
    held              text,                               -- why a queued job may not be claimed
    place             smallint      NOT NULL DEFAULT 0,   -- its place in the chain
    todo              text[]        NOT NULL,             -- the providers to ask after this one
    attempt           integer       NOT NULL DEFAULT 0,   -- the fence: +1 at every claim, matched by every write
    tries             integer       NOT NULL DEFAULT 0,   -- attempts that count against MAX_ATTEMPTS
    due_at            timestamptz   NOT NULL DEFAULT now(),
    lease_expires_at  timestamptz,
    claimed_by        uuid,                               -- the claim that took it; a failed claim can be undone
    submitted_at      timestamptz,                        -- when the intent was last committed
    callback_expected boolean       NOT NULL DEFAULT false,
    request_id        text,                               -- the provider's handle, once it is known
    polls             integer       NOT NULL DEFAULT 0,
    reserved          numeric(12,2) NOT NULL DEFAULT 0,   -- credits set aside for this question
    reserved_on       date,                               -- the day whose budget they count against
    error             text,                               -- what went wrong last
    raw               text,                               -- the body that could not be read, verbatim

    CONSTRAINT one_open_job_per_search UNIQUE (search_id),
    CONSTRAINT only_open_states
        CHECK (state IN ('queued', 'submitting', 'awaiting')),
    CONSTRAINT held_only_while_queued
        CHECK (held IS NULL OR (state = 'queued' AND held IN (
            'budget',    -- nothing is left of a budget: of all, of the provider or of the source
            'paused',    -- the provider cannot be asked
            'flood',     -- its source began too many searches within an hour: until a person releases it
            'brake'      -- a person paused all, the provider or the source
        ))),
    CONSTRAINT leased_exactly_while_submitting
        CHECK ((lease_expires_at IS NOT NULL) = (state = 'submitting')),
    CONSTRAINT reserved_exactly_while_asked
        CHECK ((reserved_on IS NOT NULL) = (state IN ('submitting', 'awaiting'))),
    CONSTRAINT reserved_needs_a_day
        CHECK (reserved >= 0 AND (reserved = 0 OR reserved_on IS NOT NULL)),
    CONSTRAINT asked_has_an_attempt
        CHECK (state = 'queued' OR (attempt > 0 AND submitted_at IS NOT NULL)),
    CONSTRAINT request_id_only_while_awaiting
        CHECK (request_id IS NULL OR state = 'awaiting')
) WITH (
    -- Every row changes state and leaves: vacuum by count, at once, and leave room on the page.
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 10000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 10000,
    autovacuum_vacuum_cost_delay = 0
);
-- One partial index per question that is asked of this table. The states are literals in the statements, too:
-- with a parameter in their place the planner could not use these.
CREATE INDEX jobs_fresh   ON jobs (provider, due_at, id)
    WHERE state = 'queued' AND held IS NULL AND tries = 0;
CREATE INDEX jobs_again   ON jobs (provider, due_at, id)
    WHERE state = 'queued' AND held IS NULL AND tries > 0;
CREATE INDEX jobs_by_lookup ON jobs (lookup_id);
CREATE INDEX jobs_begun   ON jobs (lookup_id)          -- of a search that runs: the next in its chain, or sent back
    WHERE state = 'queued' AND held IS NULL AND (place > 0 OR attempt > 0);
CREATE INDEX jobs_held    ON jobs (provider, held, source, due_at, id) WHERE held IS NOT NULL;
CREATE INDEX jobs_leased  ON jobs (lease_expires_at) WHERE state = 'submitting';
CREATE INDEX jobs_waiting ON jobs (provider, due_at, id) WHERE state = 'awaiting';

CREATE TABLE finished_jobs (
    id                uuid          NOT NULL PRIMARY KEY,
    search_id         uuid          NOT NULL,
    lookup_id         uuid          NOT NULL,
    source            text          NOT NULL,
    provider          text          NOT NULL,
    state             job_state     NOT NULL,
    answered_by       text,
    attempt           integer       NOT NULL,
    polls             integer       NOT NULL,
    request_id        text,
    credits           numeric(12,2) NOT NULL,             -- charged
    possible          numeric(12,2) NOT NULL,             -- possibly charged
    reserved_on       date,                               -- the day whose budget they count against
    submitted_at      timestamptz,
    claimed_by        uuid,                               -- of an unknown one: its claim may yet be undone
    finished_at       timestamptz   NOT NULL DEFAULT now(),
    error             text,
    raw               text,
    -- A 202 that names another request than the callback which finished the job: polled once, to be sure.
    check_request_id  text,
    check_at          timestamptz,

    CONSTRAINT only_final_states
        CHECK (state IN ('answered', 'failed', 'unknown', 'lost')),
    CONSTRAINT answered_by_somebody
        CHECK ((answered_by IS NOT NULL) = (state = 'answered')
               AND answered_by IN ('inline', 'callback', 'poll')),
    CONSTRAINT finished_credits_not_negative
        CHECK (credits >= 0 AND possible >= 0),
    CONSTRAINT checked_by_request_id
        CHECK ((check_at IS NULL) OR (check_request_id IS NOT NULL))
) PARTITION BY RANGE (id);
CREATE TABLE finished_jobs_default PARTITION OF finished_jobs DEFAULT WITH (
    fillfactor = 95, autovacuum_analyze_scale_factor = 0.05
);
CREATE INDEX finished_jobs_by_lookup ON finished_jobs (lookup_id);
CREATE INDEX finished_jobs_claimed   ON finished_jobs (claimed_by) WHERE claimed_by IS NOT NULL;
CREATE INDEX finished_jobs_to_check  ON finished_jobs (check_at) WHERE check_at IS NOT NULL;
-- Which ended lately, of an old month: those with late answers. `ringback prune` asks while all processes wait.
CREATE INDEX finished_jobs_by_end    ON finished_jobs USING brin (finished_at) WITH (autosummarize = on);

-- Every callback that carried a valid token, verbatim, once per body.
CREATE TABLE callbacks (
    job_id       uuid        NOT NULL,
    body_hash    bytea       NOT NULL,
    provider     text        NOT NULL,
    lookup_id    uuid,                   -- NULL when no such job is known any more
    received_at  timestamptz NOT NULL DEFAULT now(),
    times        integer     NOT NULL DEFAULT 1,   -- how often it came
    body         bytea       NOT NULL,
    verdict      text        NOT NULL,
    flag         text,                   -- why it was not applied

    PRIMARY KEY (job_id, body_hash),
    CONSTRAINT callback_verdict
        CHECK (verdict IN (
            'applied',   -- it finished the job
            'late',      -- the job was over without an answer; this one still counted
            'ignored',   -- the job was answered already, or is not known, or the callback said nothing final
            'flagged'    -- not applied: unreadable, or for another request; the job is polled instead
        )),
    CONSTRAINT flagged_says_why CHECK ((flag IS NOT NULL) = (verdict = 'flagged'))
) PARTITION BY RANGE (job_id);
CREATE TABLE callbacks_default PARTITION OF callbacks DEFAULT;

-- The fate of every credit that was reserved for a question. While the question is open, its job has the reservation;
-- at the end it becomes rows here. The provider's bill lies between charged and charged + possible - settled.
CREATE TABLE ledger (
    job_id     uuid          NOT NULL,
    lookup_id  uuid          NOT NULL,
    provider   text          NOT NULL,
    kind       text          NOT NULL,
    credits    numeric(12,2) NOT NULL,
    day        date          NOT NULL,
    at         timestamptz   NOT NULL DEFAULT now(),

    PRIMARY KEY (job_id, kind),          -- one job is charged once, or the row is refused
    CONSTRAINT ledger_kind
        CHECK (kind IN (
            'charged',   -- the provider says so, or its price list does
            'released',  -- reserved, not charged
            'possible',  -- the outcome is not known: perhaps charged
            'settled'    -- a possible charge that a late answer decided; it is charged or released as well
        )),
    CONSTRAINT ledger_credits_positive CHECK (credits > 0)
) PARTITION BY RANGE (job_id);
CREATE TABLE ledger_default PARTITION OF ledger DEFAULT;

-- Sums of the ledger, of the open reservations and of the ended jobs by day, so that no report scans history.
-- A row is spread over slots, so that processes do not wait for one another; a slot alone may be negative, the sum
-- never is.
CREATE TABLE usage (
    provider  text          NOT NULL,
    source    text          NOT NULL,   -- who pays
    day       date          NOT NULL,
    slot      smallint      NOT NULL,
    reserved  numeric(14,2) NOT NULL DEFAULT 0,
    charged   numeric(14,2) NOT NULL DEFAULT 0,
    possible  numeric(14,2) NOT NULL DEFAULT 0,
    found     bigint        NOT NULL DEFAULT 0,   -- jobs that ended with a number
    answered  bigint        NOT NULL DEFAULT 0,   -- without one
    failed    bigint        NOT NULL DEFAULT 0,
    unknown   bigint        NOT NULL DEFAULT 0,
    lost      bigint        NOT NULL DEFAULT 0,
    PRIMARY KEY (provider, source, day, slot)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- Counters of the processes that serve no HTTP, for /metrics; each process adds to them every few seconds.
CREATE TABLE counters (
    name      text             NOT NULL,
    provider  text             NOT NULL,
    label     text             NOT NULL,
    slot      smallint         NOT NULL,
    total     double precision NOT NULL,
    PRIMARY KEY (name, provider, label, slot)
) WITH (fillfactor = 50);

-- The state of each provider and of each CRM that is called, shared by all processes.
CREATE TABLE providers (
    name           text        NOT NULL PRIMARY KEY,
    paused_reason  text,                        -- the account cannot ask: key, credits, plan, address
    paused_at      timestamptz,
    check_at       timestamptz,                 -- when its free endpoint is asked next
    resumed_at     timestamptz,                 -- if paused again soon after, its free endpoint is not reliable
    rest_until     timestamptz,                 -- after a 429
    failures       integer     NOT NULL DEFAULT 0,  -- failures in a row, for the breaker
    trips          integer     NOT NULL DEFAULT 0,  -- how often the breaker opened in a row
    open_until     timestamptz,                 -- the breaker: nothing is asked until then
    blocked_jobs   uuid[]      NOT NULL DEFAULT '{}',  -- whose questions a firewall refused since the last success
    untold         integer     NOT NULL DEFAULT 0,  -- checks since it was paused that revealed nothing

    CONSTRAINT paused_says_why
        CHECK ((paused_at IS NULL) = (paused_reason IS NULL) AND (paused_at IS NULL) = (check_at IS NULL))
) WITH (fillfactor = 50);

-- The shared rate limits. Short windows are paced (next_at: GCRA's theoretical arrival time); long ones are
-- counted in slices (spent: a ring, spent_at: the number of its newest slice).
CREATE TABLE limits (
    provider   text        NOT NULL,
    purpose    text        NOT NULL,
    "window"   integer     NOT NULL,            -- seconds
    allowance  integer     NOT NULL,            -- in force: as configured, or as headers corrected it
    configured integer,                         -- by the vendor's page or a setting, when a process last started
    ceiling    integer,                         -- a person's setting; the provider's headers may only lower it
    next_at    timestamptz NOT NULL DEFAULT now(),
    spent      integer[]   NOT NULL DEFAULT '{}',
    spent_at   bigint      NOT NULL DEFAULT 0,

    PRIMARY KEY (provider, purpose, "window"),
    CONSTRAINT limit_purpose CHECK (purpose IN ('any', 'poll', 'search', 'sweep')),
    CONSTRAINT limit_positive CHECK (allowance > 0 AND "window" > 0)
) WITH (fillfactor = 50);

-- The CRMs that Ringback is connected to, and what `ringback connect` learned of each. The environment wins.
CREATE TABLE connections (
    crm           text        NOT NULL PRIMARY KEY,
    account       text,                        -- events of another account are ignored; NULL: not known yet
    learned       jsonb       NOT NULL DEFAULT '{}',  -- settings by name: fields, and secrets that are shown once
    connected_at  timestamptz NOT NULL DEFAULT now(), -- what happened before is not news
    swept_to      timestamptz NOT NULL DEFAULT now(), -- the watermark: a sweep has named every change before it
    sweep_due_at  timestamptz NOT NULL DEFAULT now(), -- claimed by moving it ahead
    walk_began    timestamptz,                 -- when the nightly walk that is under way began
    walk_cursor   text,                        -- its next page; NULL: the first
    walk_due_at   timestamptz NOT NULL DEFAULT now(), -- of that page; claimed by moving it ahead
    error         text                         -- what went wrong last
) WITH (fillfactor = 50);

CREATE TYPE reading_state AS ENUM (
    'queued',      -- waits until due_at to be read from the CRM
    'reading',     -- claimed by one submitter until lease_expires_at
    'done',        -- it became the lookup lookup_id
    'skipped'      -- it became none, for this reason
);

-- One row for each contact that a CRM's event or a sweep named. Named again, it is queued again: a reading under way
-- then matches no attempt, and its result is dropped.
CREATE TABLE readings (
    id                uuid          NOT NULL PRIMARY KEY,      -- UUIDv7: when it was first named
    source            text          NOT NULL,                  -- the CRM
    record_id         text          NOT NULL,                  -- the CRM's own name for the contact
    state             reading_state NOT NULL DEFAULT 'queued',
    named_by          text          NOT NULL,
    event_id          uuid,                                    -- the event that named it last
    erases            boolean       NOT NULL DEFAULT false,    -- the CRM said that the person is to be forgotten
    seen              timestamptz,                             -- the latest change of the contact that a sweep saw
    walk_seen         timestamptz,                             -- walk_began of the last walk that met its open lookup
    attempt           integer       NOT NULL DEFAULT 0,        -- the fence: +1 at every claim and every naming
    tries             integer       NOT NULL DEFAULT 0,        -- failures in a row
    due_at            timestamptz   NOT NULL DEFAULT now(),
    lease_expires_at  timestamptz,
    claimed_by        uuid,
    named_at          timestamptz   NOT NULL DEFAULT now(),
    ended_at          timestamptz,
    reason            text,                                    -- why it was skipped
    error             text,                                    -- what went wrong last
    lookup_id         uuid,                                    -- the lookup that it became, now or earlier

    CONSTRAINT one_reading_per_contact UNIQUE (source, record_id),
    CONSTRAINT named_by_somebody CHECK (named_by IN ('event', 'request', 'sweep', 'walk', 'backfill')),
    CONSTRAINT read_under_a_lease CHECK ((lease_expires_at IS NOT NULL) = (state = 'reading')),
    CONSTRAINT read_to_its_end CHECK ((ended_at IS NOT NULL) = (state IN ('done', 'skipped'))),
    CONSTRAINT skipped_says_why CHECK ((reason IS NOT NULL) = (state = 'skipped')),
    CONSTRAINT done_made_a_lookup CHECK (state <> 'done' OR lookup_id IS NOT NULL)
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 10000
);
-- Events first, then what a backfill feeds.
CREATE INDEX readings_queued ON readings (source, (named_by = 'backfill'), due_at, id) WHERE state = 'queued';
CREATE INDEX readings_to_erase ON readings (due_at) WHERE erases AND state = 'queued';  -- whoever can call or not
CREATE INDEX readings_leased ON readings (lease_expires_at) WHERE state = 'reading';
CREATE INDEX readings_by_state ON readings (state, id);
CREATE INDEX readings_by_source ON readings (source, state, id);  -- for the API's list
CREATE INDEX readings_ended  ON readings (state, ended_at) WHERE ended_at IS NOT NULL;  -- of the last day, for reports
CREATE INDEX readings_by_lookup ON readings (lookup_id) WHERE lookup_id IS NOT NULL;

CREATE TYPE delivery_state AS ENUM (
    'queued',      -- waits until due_at
    'sending',     -- claimed by one submitter until lease_expires_at
    'delivered',   -- final: the other side has it
    'refused',     -- final: the other side said no, and would again
    'given_up',    -- final: the last try failed
    'skipped'      -- final: not sent, for this reason
);

-- One result on its way out. Written in the commit that ends its lookup.
CREATE TABLE deliveries (
    id                uuid           NOT NULL PRIMARY KEY,     -- UUIDv7; the webhook's id on every try
    lookup_id         uuid           NOT NULL,
    channel           text           NOT NULL,                 -- 'webhook', or the CRM's name
    state             delivery_state NOT NULL DEFAULT 'queued',
    attempt           integer        NOT NULL DEFAULT 0,       -- the fence: +1 at every claim
    tries             integer        NOT NULL DEFAULT 0,       -- attempts that failed
    due_at            timestamptz    NOT NULL DEFAULT now(),
    lease_expires_at  timestamptz,
    claimed_by        uuid,
    record_id         text,                                    -- the record that it was written to, if another
    wrote             bytea,                                   -- hash of the number that we wrote there
    reason            text,                                    -- why it was skipped or refused, or what a person changed
    error             text,                                    -- what went wrong last
    answer            text,                                    -- of the other side, 4 KiB at most
    ended_at          timestamptz,

    CONSTRAINT sent_under_a_lease CHECK ((lease_expires_at IS NOT NULL) = (state = 'sending')),
    CONSTRAINT delivered_to_its_end CHECK ((ended_at IS NOT NULL) = (state NOT IN ('queued', 'sending'))),
    CONSTRAINT not_delivered_says_why CHECK (state NOT IN ('refused', 'given_up', 'skipped') OR reason IS NOT NULL)
) PARTITION BY RANGE (id);
CREATE TABLE deliveries_default PARTITION OF deliveries DEFAULT WITH (
    fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05
);
CREATE INDEX deliveries_queued    ON deliveries (channel, due_at, id) WHERE state = 'queued';
CREATE INDEX deliveries_leased    ON deliveries (lease_expires_at) WHERE state = 'sending';
CREATE INDEX deliveries_by_lookup ON deliveries (lookup_id);
CREATE INDEX deliveries_by_state  ON deliveries (channel, state, id);

-- Returns the records that a CRM is being told about, and lets nobody else claim its deliveries before the end of this
-- transaction. A function, because its query sees what was committed before it has the lock; the statement around it
-- does not.
CREATE FUNCTION records_in_hand(crm text) RETURNS SETOF text LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('deliveries to ' || crm, 0));
    RETURN QUERY
        SELECT COALESCE(deliveries.record_id, lookups.record_id)
          FROM deliveries
          JOIN lookups ON lookups.id = deliveries.lookup_id
         WHERE deliveries.channel = crm
           AND deliveries.state = 'sending';
END
$$;

-- Who is never to be asked for, and which numbers are never to be given: hashed as keys are.
CREATE TABLE suppressions (
    id          uuid        NOT NULL PRIMARY KEY,
    kind        text        NOT NULL,
    hash        bytea       NOT NULL,
    note        text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT one_suppression UNIQUE (hash),
    CONSTRAINT suppression_is_a_hash CHECK (octet_length(hash) = 16),
    CONSTRAINT suppression_kind CHECK (kind IN ('email', 'profile', 'domain', 'number'))
);

-- The jobs of erased people, hashed: a callback that comes later is answered and not stored.
CREATE TABLE tombstones (
    job_hash   bytea       NOT NULL PRIMARY KEY,
    erased_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT tombstone_is_a_hash CHECK (octet_length(job_hash) = 16)
);

-- Who did what. Subjects are ids and names of ours, never a person's identifiers.
CREATE TABLE audit (
    id       uuid        NOT NULL PRIMARY KEY,     -- UUIDv7
    at       timestamptz NOT NULL DEFAULT now(),
    who      text        NOT NULL,                 -- the token's name, or the user of the command line
    action   text        NOT NULL,
    subject  text,                                 -- a lookup, delivery, selection, pause or suppression
    detail   jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT audit_action CHECK (action IN (
        'retry', 'cancel', 'release', 'replay', 'suppress', 'unsuppress', 'erase', 'pause', 'resume', 'connect',
        'disconnect', 'backfill', 'reveal'
    ))
);

-- The brake: paid questions that a person has stopped.
CREATE TABLE pauses (
    id          uuid        NOT NULL PRIMARY KEY,
    provider    text,                              -- both NULL: all of them
    source      text,
    reason      text        NOT NULL,
    who         text        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT one_pause UNIQUE NULLS NOT DISTINCT (provider, source),
    CONSTRAINT of_a_provider_or_of_a_source CHECK (provider IS NULL OR source IS NULL)
);

-- The flood guard: searches that each source began and that were not held, by minute; '-infinity' is the row whose lock
-- orders the intakes of a source.
CREATE TABLE floods (
    source  text        NOT NULL,
    minute  timestamptz NOT NULL,
    begun   integer     NOT NULL,
    PRIMARY KEY (source, minute)
) WITH (fillfactor = 50);

CREATE TYPE selection_state AS ENUM ('previewing', 'previewed', 'applying', 'applied');

-- A filter and an action, the items that the filter found, and how far the action has come. An item that the preview
-- did not find is never touched.
CREATE TABLE selections (
    id            uuid            NOT NULL PRIMARY KEY,
    who           text            NOT NULL,
    action        text            NOT NULL,
    filter        jsonb           NOT NULL,
    state         selection_state NOT NULL DEFAULT 'previewing',
    seen_to       uuid,                            -- the preview has looked at every item before this one
    most_credits  numeric(14,2)   NOT NULL DEFAULT 0,
    found         bigint          NOT NULL DEFAULT 0,
    applied       bigint          NOT NULL DEFAULT 0,
    passed        bigint          NOT NULL DEFAULT 0,  -- changed after the preview: left alone
    created_at    timestamptz     NOT NULL DEFAULT now(),
    previewed_at  timestamptz,
    applied_at    timestamptz,
    CONSTRAINT selection_action CHECK (action IN ('retry', 'cancel', 'release', 'replay', 'erase')),
    CONSTRAINT previewed_before_it_is_applied
        CHECK ((previewed_at IS NULL) = (state = 'previewing') AND (applied_at IS NOT NULL) = (state = 'applied'))
) WITH (fillfactor = 50);
CREATE INDEX selections_under_way ON selections (id) WHERE state IN ('previewing', 'applying');

CREATE TABLE selected (
    selection_id  uuid    NOT NULL,
    item_id       uuid    NOT NULL,                -- a lookup; of a replay, a delivery
    is_done       boolean NOT NULL DEFAULT false,
    PRIMARY KEY (selection_id, item_id)
) WITH (fillfactor = 70);
CREATE INDEX selected_left ON selected (selection_id, item_id) WHERE NOT is_done;

CREATE VIEW lookup_status AS
SELECT lookups.id,
       CASE
           WHEN lookups.final_status IS NOT NULL        THEN lookups.final_status::text
           WHEN jobs.id IS NULL                         THEN 'queued'   -- its search has ended: it is decided anew
           WHEN jobs.held IS NOT NULL                   THEN 'held'
           WHEN jobs.place = 0 AND jobs.attempt = 0     THEN 'queued'
           ELSE 'running'
       END AS status
  FROM lookups
  LEFT JOIN jobs ON jobs.search_id = lookups.search_id;

-- step 2: after a restore

-- A database restored from a backup has forgotten every question that was asked since the backup. The row of a restore
-- marks the lookups whose question may have been paid for already: those before `upto`, which is all of them until a
-- person says that what the lost database knew has come in again (`ringback reconcile --done`). The claim holds their
-- jobs until a person releases them.
CREATE TABLE restores (
    id         uuid        NOT NULL PRIMARY KEY,   -- UUIDv7
    since      timestamptz NOT NULL,               -- where the restored data ends
    began_at   timestamptz NOT NULL,               -- when `ringback reconcile --since` began
    began_id   uuid        NOT NULL,               -- the first id of that moment: a person's later retry is not held
    upto       uuid        NOT NULL DEFAULT 'ffffffff-ffff-ffff-ffff-ffffffffffff',
    who        text        NOT NULL,
    closed_at  timestamptz,
    CONSTRAINT closed_exactly_at_an_id
        CHECK ((closed_at IS NULL) = (upto = 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
);
CREATE UNIQUE INDEX one_open_restore ON restores ((closed_at IS NULL)) WHERE closed_at IS NULL;

-- The searches that a person released since the last restore: nothing of them is held for it again.
CREATE TABLE released_searches (
    search_id  uuid NOT NULL PRIMARY KEY
);

-- Lookups after `upto` of contacts that were named before it.
CREATE TABLE marked_lookups (
    lookup_id  uuid NOT NULL PRIMARY KEY
);

-- Named before the restore was closed, and not read yet.
ALTER TABLE readings ADD COLUMN may_repeat boolean NOT NULL DEFAULT false;

ALTER TABLE jobs DROP CONSTRAINT held_only_while_queued;
ALTER TABLE jobs ADD CONSTRAINT held_only_while_queued
    CHECK (held IS NULL OR (state = 'queued' AND held IN (
        'budget',    -- nothing is left of a budget: of all, of the provider or of the source
        'paused',    -- the provider cannot be asked
        'flood',     -- its source began too many searches within an hour: until a person releases it
        'brake',     -- a person paused all, the provider or the source
        'restored'   -- it may have been paid for before the database was restored: until a person releases it
    ))) NOT VALID;

ALTER TABLE audit DROP CONSTRAINT audit_action;
ALTER TABLE audit ADD CONSTRAINT audit_action CHECK (action IN (
    'retry', 'cancel', 'release', 'replay', 'suppress', 'unsuppress', 'erase', 'pause', 'resume', 'connect',
    'disconnect', 'backfill', 'reveal', 'reconcile'
)) NOT VALID;

-- What each provider said of its account, once an hour, and what our ledger had booked by then: after a restore, the
-- difference between two of them is what the provider charged and the ledger does not know.
CREATE TABLE vendor_figures (
    provider  text          NOT NULL,
    at        timestamptz   NOT NULL DEFAULT now(),
    balance   numeric(14,2),                       -- credits left, if it says so
    used      numeric(14,2),                       -- credits used in this month (UTC), if it says so
    charged   numeric(14,2) NOT NULL,              -- by our ledger, ever
    PRIMARY KEY (provider, at),
    CONSTRAINT a_figure_is_named CHECK (balance IS NOT NULL OR used IS NOT NULL)
);

-- step 3: the constraints of step 2, checked (concurrently)

ALTER TABLE jobs VALIDATE CONSTRAINT held_only_while_queued;
ALTER TABLE audit VALIDATE CONSTRAINT audit_action;

-- step 4: campaigns

CREATE TYPE campaign_state AS ENUM (
    'uploading',   -- its file is on the way
    'uploaded',    -- its columns are looked at; then a person has yet to say which holds what
    'reading',     -- its rows are being recorded
    'read',        -- counted; a person has yet to let the sample be asked
    'sampling',    -- the sample is being asked
    'quoted',      -- the sample has its answers; a person has yet to approve the rest
    'running',     -- all rows are being asked
    'done',        -- every usable row has its answer
    'stopped'      -- no row is begun until a person goes on, for this reason
);

-- A file of contacts: its wish for numbers, what it may cost, and how far it has come. The command line's file stays on
-- disk; an upload is in campaign_files. Rows become lookups of the source `api`, a few at a time.
CREATE TABLE campaigns (
    id                uuid           NOT NULL PRIMARY KEY,      -- UUIDv7
    name              text           NOT NULL,                  -- of the file
    who               text           NOT NULL,                  -- who gave it
    state             campaign_state NOT NULL DEFAULT 'reading',
    is_uploaded       boolean        NOT NULL DEFAULT false,    -- the reconciler goes on with it
    digest            bytea,                                    -- SHA-256 of the file; NULL while it is on the way
    layout            jsonb,                                    -- of an upload: its columns, and how it is read
    mapping           jsonb          NOT NULL DEFAULT '{}',     -- column -> field of an event
    read_to           integer        NOT NULL DEFAULT 0,        -- the number of the last row that is recorded
    read_at           timestamptz,                              -- when the last row of all was
    fresh             integer        NOT NULL DEFAULT 0,        -- rows by verdict, as they were read
    duplicate         integer        NOT NULL DEFAULT 0,
    known             integer        NOT NULL DEFAULT 0,
    unusable          integer        NOT NULL DEFAULT 0,
    most_credits      numeric(14,2)  NOT NULL DEFAULT 0,        -- the most that all rows can cost
    sample            integer,                                  -- rows of the sample
    quote             jsonb,                                    -- what the sample says about all
    approved_credits  numeric(14,2),                            -- what may be spent by now, the sample included
    approved_at       timestamptz,                              -- when the rest was approved
    begun             integer        NOT NULL DEFAULT 0,        -- rows that became lookups
    ended             integer        NOT NULL DEFAULT 0,        -- those of them that were seen at their end
    found             integer        NOT NULL DEFAULT 0,
    credits           numeric(14,2)  NOT NULL DEFAULT 0,        -- charged, or perhaps charged, by the ended ones
    reason            text,                                     -- why it is stopped
    due_at            timestamptz    NOT NULL DEFAULT now(),    -- of an upload; claimed by moving it ahead
    created_at        timestamptz    NOT NULL DEFAULT now(),
    done_at           timestamptz,

    CONSTRAINT campaign_digest_is_sha256
        CHECK (octet_length(digest) = 32),
    CONSTRAINT read_from_a_whole_file
        CHECK (digest IS NOT NULL OR state IN ('uploading', 'stopped')),
    CONSTRAINT read_as_it_was_looked_at
        CHECK (layout IS NOT NULL OR NOT is_uploaded OR state IN ('uploading', 'uploaded', 'stopped')),
    CONSTRAINT campaign_read_to_its_end
        CHECK (read_at IS NOT NULL OR state IN ('uploading', 'uploaded', 'reading', 'stopped')),
    CONSTRAINT asked_with_a_limit
        CHECK (approved_credits IS NOT NULL OR begun = 0 AND state NOT IN ('sampling', 'quoted', 'running', 'done')),
    CONSTRAINT sampled_to_a_size
        CHECK (sample IS NOT NULL OR state NOT IN ('sampling', 'quoted')),
    CONSTRAINT quoted_with_a_quote
        CHECK (quote IS NOT NULL OR state <> 'quoted'),
    CONSTRAINT run_after_an_approval
        CHECK (approved_at IS NOT NULL OR state NOT IN ('running', 'done')),
    CONSTRAINT campaign_done_exactly_at
        CHECK ((done_at IS NOT NULL) = (state = 'done')),
    CONSTRAINT stopped_says_why
        CHECK ((reason IS NOT NULL) = (state = 'stopped'))
) WITH (fillfactor = 50);
CREATE INDEX campaigns_under_way ON campaigns (id) WHERE state IN ('uploaded', 'reading', 'sampling', 'running');

-- One row for each row of the file. No contact is here in the clear: it is in the file until it is in a lookup.
CREATE TABLE campaign_rows (
    campaign_id  uuid          NOT NULL,
    number       integer       NOT NULL,                    -- 1: the first below the header
    verdict      text          NOT NULL,
    reason       text,                                      -- why it cannot be used
    keys         bytea[]       NOT NULL DEFAULT '{}',       -- hashes of its contact, as lookups have them
    content      bytea,                                     -- hash of what would be asked: the same again is a duplicate
    most         numeric(12,2) NOT NULL DEFAULT 0,          -- the most that it can cost
    is_sampled   boolean       NOT NULL DEFAULT false,      -- chosen at random
    lookup_id    uuid,                                      -- the lookup that it became
    status       final_status,                              -- of its lookup, when its end was seen
    credits      numeric(12,2),                             -- charged, or perhaps charged, by then

    PRIMARY KEY (campaign_id, number),
    CONSTRAINT row_verdict
        CHECK (verdict IN (
            'new',         -- it may cost something
            'duplicate',   -- an earlier row asks the same
            'known',       -- answered or being asked already
            'unusable',    -- nothing in it can be looked up
            'erased'       -- its person was erased: it is never begun
        )),
    CONSTRAINT unusable_row_says_why CHECK ((reason IS NOT NULL) = (verdict = 'unusable')),
    CONSTRAINT a_usable_row_has_keys
        CHECK ((content IS NOT NULL) = (verdict IN ('new', 'duplicate', 'known'))
               AND (keys <> '{}') = (content IS NOT NULL)),
    CONSTRAINT only_new_rows_cost CHECK (verdict = 'new' OR most = 0),
    CONSTRAINT only_usable_rows_begin CHECK (content IS NOT NULL OR lookup_id IS NULL),
    CONSTRAINT a_row_ends_after_its_beginning
        CHECK ((credits IS NOT NULL) = (status IS NOT NULL) AND (status IS NULL OR lookup_id IS NOT NULL))
) WITH (fillfactor = 80);
CREATE INDEX campaign_rows_left       ON campaign_rows (campaign_id, number)
    WHERE lookup_id IS NULL AND verdict IN ('new', 'duplicate', 'known');
CREATE INDEX campaign_rows_open       ON campaign_rows (campaign_id, number)
    WHERE lookup_id IS NOT NULL AND status IS NULL;
CREATE INDEX campaign_rows_sampled    ON campaign_rows (campaign_id, number) WHERE is_sampled;
CREATE INDEX campaign_rows_by_content ON campaign_rows (campaign_id, content) WHERE content IS NOT NULL;
CREATE INDEX campaign_rows_by_reason  ON campaign_rows (campaign_id, reason) WHERE verdict = 'unusable';
-- Those of a person who is erased.
CREATE INDEX campaign_rows_by_lookup  ON campaign_rows (lookup_id) WHERE lookup_id IS NOT NULL;

-- An upload, in pieces. A process that reads it puts them together in a temporary file.
CREATE TABLE campaign_files (
    campaign_id  uuid    NOT NULL,
    place        integer NOT NULL,
    bytes        bytea   NOT NULL,
    PRIMARY KEY (campaign_id, place),
    CONSTRAINT a_piece_is_small CHECK (octet_length(bytes) BETWEEN 1 AND 1048576)
);

ALTER TABLE audit DROP CONSTRAINT audit_action;
ALTER TABLE audit ADD CONSTRAINT audit_action CHECK (action IN (
    'retry', 'cancel', 'release', 'replay', 'suppress', 'unsuppress', 'erase', 'pause', 'resume', 'connect',
    'disconnect', 'backfill', 'reveal', 'reconcile', 'enrich', 'export'
)) NOT VALID;

-- step 5: the constraint of step 4, checked (concurrently)

ALTER TABLE audit VALIDATE CONSTRAINT audit_action;
