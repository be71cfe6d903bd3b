-- Ringback: the whole database.
--
-- An event comes in from a CRM. For each contact in it there is one lookup: one wish for one person's mobile
-- number. A lookup is a chain of jobs, one at a time; a job is one question asked of one provider.
--
--     job:   queued --claim--> submitting --answer------------------------> answered   (inline)
--               ^                  |  '----accepted----> awaiting --answer--> answered   (callback or poll)
--               '-----retry--------'                         |
--                                  |                         |
--                 failed  <--------+-------------------------+   the provider refused, or said failed
--                 unknown <--------+-------------------------+   asked, and nobody can tell what came of it
--                 lost    <----------------------------------'   forgotten by the provider, or past its deadline
--
--     lookup:  queued -> running -> found | not_found | failed | unresolved | suppressed | cancelled
--              held      waits for budget or for a paused provider; goes on by itself
--
-- Who writes what.  The receiver writes events, lookups and their first jobs, and applies callbacks.  The
-- submitter claims jobs (the claim IS the committed intent to pay: attempt, lease, credits reserved), asks, and
-- writes the outcome.  The reconciler polls what no callback answered, takes over what a dead submitter left,
-- and ends what passed its deadline.  All three finish a job through one statement (store/finish.py): it takes
-- the row out of `jobs`, and whoever takes it out has won; the others find nothing and change nothing.
--
-- What is outstanding lives in `jobs`, small and busy.  What is over lives in `finished_jobs`, written once.
-- So a claim, a sweep or a rescue costs what is due, never what is past.
--
-- A lookup's open status is not stored, because it would be a second truth beside its job: `lookup_status` reads
-- it off the open job.  Only the final status is a column.
--
-- Order of locks, everywhere: keys (sorted), then jobs, then lookups, then the rest.
--
-- On Citus: lookups, jobs, finished_jobs, callbacks and ledger are distributed by lookup_id (lookups by id), and
-- every hot statement names it or reaches it through the job. Small and shared by all shards: `keys` (identity),
-- `limits`, `providers`, `usage` (budgets). There are no foreign keys, so that history can be dropped by
-- partition; the rows of one lookup are written in one statement instead.
--
-- History lies in months: events, lookups, finished_jobs, callbacks and ledger are partitioned by the UUIDv7 that
-- leads their primary key, whose first 48 bits are the milliseconds of its making. So a month is a range of ids, and
-- whoever has an id has its month. The months are made ahead by store/partitions.py (`ringback migrate`, and the
-- reconciler), and dropped by store/prune.py (`ringback prune`). A row whose month is not there goes to the default
-- partition: nothing is lost because somebody forgot to make a month. A month takes its storage options from the
-- default partition, because a partitioned table has none.
--
-- This file is also its own history: the steps are applied in order, each once, and a step that was released
-- never changes (its checksum is kept). To change the database, add a step below the last one.

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

-- How a chain of jobs went so far, from good to bad: it decides what a lookup without a number ends as.
CREATE TYPE chain_verdict AS ENUM (
    'no_number',   -- every job answered          -> not_found
    'failed',      -- at least one job failed     -> failed
    'doubtful'     -- at least one unknown, lost  -> unresolved
);

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
    providers       text[]        NOT NULL,              -- who is to be asked, in this order
    reused_from     uuid,                                -- the lookup it follows, or whose answer it took
    brings_more     boolean       NOT NULL DEFAULT false,-- a follower with an identifier the first one lacked
    followers       integer       NOT NULL DEFAULT 0,    -- how many lookups ever followed this one
    created_at      timestamptz   NOT NULL DEFAULT now(),

    final_status    final_status,
    finished_at     timestamptz,
    mobile          text,
    mobile_raw      text,                                -- as the provider wrote it
    region          text,
    line_type       text,
    provider        text,                                -- whose number it is
    credits         numeric(12,2) NOT NULL DEFAULT 0,
    reason          text,                                -- why there is no number

    CONSTRAINT somebody_is_looked_for
        CHECK (COALESCE(profile_url, work_email, personal_email, name) IS NOT NULL),
    CONSTRAINT somebody_can_be_asked
        CHECK (cardinality(providers) > 0),
    CONSTRAINT finished_exactly_when_final
        CHECK ((finished_at IS NOT NULL) = (final_status IS NOT NULL)),
    CONSTRAINT mobile_exactly_when_found
        CHECK ((mobile IS NOT NULL) = (final_status IS NOT DISTINCT FROM 'found')),
    CONSTRAINT mobile_is_e164
        CHECK (mobile ~ '^\+[1-9][0-9]{2,14}$'),
    CONSTRAINT no_lookup_follows_itself
        CHECK (reused_from <> id),
    CONSTRAINT reuse_is_free
        CHECK (reused_from IS NULL OR credits = 0),
    CONSTRAINT credits_not_negative
        CHECK (credits >= 0)
) PARTITION BY RANGE (id);
-- Every lookup is written twice, at its beginning and at its end: vacuum and analyze by less than the usual fifth, so
-- that the planner knows the new month before it is large.
CREATE TABLE lookups_default PARTITION OF lookups DEFAULT WITH (
    autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05
);
CREATE INDEX lookups_by_status ON lookups (final_status, id);
CREATE INDEX lookups_by_record ON lookups (record_id, id) WHERE record_id IS NOT NULL;
CREATE INDEX lookups_by_leader ON lookups (reused_from) WHERE reused_from IS NOT NULL;
-- The open followers: few, looked for every second, and the only open lookups without a job.
CREATE INDEX lookups_following ON lookups (id) WHERE reused_from IS NOT NULL AND final_status IS NULL;

-- Who speaks for what. An event's own key (source and event_id) leads to the lookup it made: the event again is a
-- duplicate. A person's key (LinkedIn slug, e-mail; else name and company) leads to the lookup that speaks for the
-- person: the next event for the person follows it or takes its answer. Keys are hashes: no personal data here.
-- A lookup that fails has nothing to say: then whoever spoke before it is heard, so that its doubt is not forgotten.
CREATE TABLE keys (
    key        bytea NOT NULL PRIMARY KEY,
    lookup_id  uuid  NOT NULL,
    before     uuid,             -- the last lookup before this one that ended with an answer, or in doubt
    CONSTRAINT key_is_a_hash CHECK (octet_length(key) = 16)
) WITH (fillfactor = 90);

-- The outstanding questions. At most one per lookup.
CREATE TABLE jobs (
    id                uuid          NOT NULL PRIMARY KEY,
    lookup_id         uuid          NOT NULL,
    provider          text          NOT NULL,
    state             job_state     NOT NULL DEFAULT 'queued',
    held              text,                               -- why a queued job may not be claimed
    place             smallint      NOT NULL DEFAULT 0,   -- its place in the chain
    todo              text[]        NOT NULL,             -- who is asked after this one
    verdict           chain_verdict NOT NULL DEFAULT 'no_number',  -- of the jobs before this one
    spent             numeric(12,2) NOT NULL DEFAULT 0,   -- by the jobs before this one
    reason            text,                               -- what the jobs before this one said
    attempt           integer       NOT NULL DEFAULT 0,   -- the fence: +1 at every claim, matched by every write
    tries             integer       NOT NULL DEFAULT 0,   -- attempts that count against MAX_ATTEMPTS
    due_at            timestamptz   NOT NULL DEFAULT now(),
    lease_expires_at  timestamptz,
    submitted_at      timestamptz,                        -- when the intent was last committed
    callback_expected boolean       NOT NULL DEFAULT false,
    request_id        text,                               -- the provider's handle, once it told us
    polls             integer       NOT NULL DEFAULT 0,
    reserved          numeric(12,2) NOT NULL DEFAULT 0,   -- credits set aside for this question
    reserved_on       date,                               -- the day whose budget they count against
    error             text,                               -- what went wrong last
    raw               text,                               -- the body that could not be read, verbatim

    CONSTRAINT one_open_job_per_lookup UNIQUE (lookup_id),
    CONSTRAINT only_open_states
        CHECK (state IN ('queued', 'submitting', 'awaiting')),
    CONSTRAINT held_only_while_queued
        CHECK (held IS NULL OR (state = 'queued' AND held IN ('budget', 'paused'))),
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
CREATE INDEX jobs_begun   ON jobs (lookup_id)          -- of a lookup that runs: the next in its chain, or sent back
    WHERE state = 'queued' AND held IS NULL AND (place > 0 OR attempt > 0);
CREATE INDEX jobs_held    ON jobs (provider, held, due_at, id) WHERE held IS NOT NULL;
CREATE INDEX jobs_leased  ON jobs (lease_expires_at) WHERE state = 'submitting';
CREATE INDEX jobs_waiting ON jobs (provider, due_at, id) WHERE state = 'awaiting';

CREATE TABLE finished_jobs (
    id                uuid          NOT NULL PRIMARY KEY,
    lookup_id         uuid          NOT NULL,
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
CREATE INDEX finished_jobs_to_check  ON finished_jobs (check_at) WHERE check_at IS NOT NULL;

-- Every callback that carried a valid token, verbatim, once per body.
CREATE TABLE callbacks (
    job_id       uuid        NOT NULL,
    body_hash    bytea       NOT NULL,
    provider     text        NOT NULL,
    lookup_id    uuid,                   -- NULL when no such job is known any more
    received_at  timestamptz NOT NULL DEFAULT now(),
    body         bytea       NOT NULL,
    verdict      text        NOT NULL,
    flag         text,                   -- why it was not believed

    PRIMARY KEY (job_id, body_hash),
    CONSTRAINT callback_verdict
        CHECK (verdict IN (
            'applied',   -- it finished the job
            'late',      -- the job was over without an answer; this one still counted
            'ignored',   -- the job was answered already, or is not known, or the callback said nothing final
            'flagged'    -- not believed: unreadable, or for another request; the job is polled instead
        )),
    CONSTRAINT flagged_says_why CHECK ((flag IS NOT NULL) = (verdict = 'flagged'))
) PARTITION BY RANGE (job_id);
CREATE TABLE callbacks_default PARTITION OF callbacks DEFAULT;

-- What became of every credit that was reserved for a question. While the question is open, the reservation
-- stands on its job; at the end it becomes rows here. charged + possible - settled brackets the provider's bill.
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

-- Sums of the ledger, of the open reservations and of the ended jobs by day, so that nobody has to scan history.
-- A row is spread over slots, so that processes do not wait for one another; a slot alone may be negative, the sum
-- never is.
CREATE TABLE usage (
    provider  text          NOT NULL,
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
    PRIMARY KEY (provider, day, slot)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- What the processes that nobody can ask over HTTP have counted, for /metrics: added to every few seconds.
CREATE TABLE counters (
    name      text             NOT NULL,
    provider  text             NOT NULL,
    label     text             NOT NULL,
    slot      smallint         NOT NULL,
    total     double precision NOT NULL,
    PRIMARY KEY (name, provider, label, slot)
) WITH (fillfactor = 50);

-- How each provider is, as all processes see it.
CREATE TABLE providers (
    name           text        NOT NULL PRIMARY KEY,
    paused_reason  text,                        -- the account cannot ask: key, credits, plan, address
    paused_at      timestamptz,
    check_at       timestamptz,                 -- when its free endpoint is asked next
    resumed_at     timestamptz,                 -- paused again soon after: the free endpoint does not tell the truth
    rest_until     timestamptz,                 -- after a 429
    failures       integer     NOT NULL DEFAULT 0,  -- failures in a row, for the breaker
    trips          integer     NOT NULL DEFAULT 0,  -- how often the breaker opened in a row
    open_until     timestamptz,                 -- the breaker: nothing is asked until then
    blocked_jobs   uuid[]      NOT NULL DEFAULT '{}',  -- whose questions a firewall refused since the last success
    untold         integer     NOT NULL DEFAULT 0,  -- checks since it was paused that told nothing

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
    CONSTRAINT limit_purpose CHECK (purpose IN ('any', 'poll')),
    CONSTRAINT limit_positive CHECK (allowance > 0 AND "window" > 0)
) WITH (fillfactor = 50);

CREATE VIEW lookup_status AS
SELECT lookups.id,
       CASE
           WHEN lookups.final_status IS NOT NULL        THEN lookups.final_status::text
           WHEN jobs.id IS NULL                         THEN 'queued'   -- follows another lookup
           WHEN jobs.held IS NOT NULL                   THEN 'held'
           WHEN jobs.place = 0 AND jobs.attempt = 0     THEN 'queued'
           ELSE 'running'
       END AS status
  FROM lookups
  LEFT JOIN jobs ON jobs.lookup_id = lookups.id;
