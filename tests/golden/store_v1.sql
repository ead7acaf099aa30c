-- A store of version 1 with one stopped race, as a program of that version wrote it.
BEGIN TRANSACTION;
CREATE TABLE evaluations (
    race            TEXT NOT NULL,
    lane            INTEGER NOT NULL,
    step            INTEGER NOT NULL,
    epoch           REAL NOT NULL,
    train_seconds   REAL NOT NULL,
    accuracy        REAL,                        -- NULL stands for NaN, which SQLite cannot hold
    loss            REAL,
    reason          TEXT NOT NULL,
    FOREIGN KEY (race, lane) REFERENCES lanes (race, lane) ON DELETE CASCADE
);
INSERT INTO "evaluations" VALUES('jygkfv2f4j',1,3,0.6,0.03,0.75,0.5,'end');
CREATE TABLE lanes (
    race            TEXT NOT NULL REFERENCES races (id) ON DELETE CASCADE,
    lane            INTEGER NOT NULL,
    seed            INTEGER NOT NULL,
    arm             TEXT NOT NULL,
    outcome         TEXT,
    message         TEXT NOT NULL DEFAULT '',
    steps           INTEGER NOT NULL DEFAULT 0,
    recorded_steps  INTEGER NOT NULL DEFAULT 0,
    epochs          REAL NOT NULL DEFAULT 0,
    train_seconds   REAL NOT NULL DEFAULT 0,
    wall_seconds    REAL,
    excluded        TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (race, lane)
);
INSERT INTO "lanes" VALUES('jygkfv2f4j',0,0,'SGD','stopped','',3,3,0.0,0.03,NULL,'{}');
INSERT INTO "lanes" VALUES('jygkfv2f4j',1,0,'multirate','stopped','',3,3,0.6,0.03,NULL,'{}');
CREATE TABLE phases (
    race            TEXT NOT NULL REFERENCES races (id) ON DELETE CASCADE,
    at              REAL NOT NULL,
    text            TEXT NOT NULL
);
INSERT INTO "phases" VALUES('jygkfv2f4j',1.79518959727741980554e+09,'training seed 0');
CREATE TABLE races (
    id              TEXT PRIMARY KEY,
    created_at      REAL NOT NULL,               -- times are seconds since 1970
    config          TEXT NOT NULL,               -- JSON of the RaceConfig, frozen at submit
    search          TEXT NOT NULL,               -- lower case words that the list can be searched for
    likeness        TEXT NOT NULL,               -- equal for races that should take equally long per unit of work
    work            REAL NOT NULL,               -- training seconds or epochs that were asked for, over all lanes
    state           TEXT NOT NULL CHECK (state IN ('queued', 'starting', 'running', 'paused', 'parked', 'ended')),
    state_since     REAL NOT NULL,
    queue_number    INTEGER NOT NULL,            -- order among the waiting; a new one when a parked race resumes
    candidates      TEXT NOT NULL,               -- devices that would do, comma-separated, best first
    device          TEXT,                        -- the one that it was given
    outcome         TEXT CHECK (outcome IN ('finished', 'stopped', 'diverged', 'out_of_memory', 'failed', 'lost')),
    message         TEXT NOT NULL DEFAULT '',
    traceback       TEXT NOT NULL DEFAULT '',
    request         TEXT CHECK (request IN ('pause', 'stop')),
    pid             INTEGER,
    pid_started     REAL,                        -- tells a process from a later one with the same pid
    own_process     INTEGER NOT NULL DEFAULT 0,  -- 1: the process runs this race only
    heartbeat_at    REAL,
    heartbeat_tick  REAL,                        -- the same on the machine's monotonic clock
    started_at      REAL,
    ended_at        REAL,
    phase           TEXT NOT NULL DEFAULT '',
    fraction        REAL NOT NULL DEFAULT 0,
    seconds_left    REAL,
    progress_at     REAL,
    environment     TEXT NOT NULL DEFAULT '{}',
    summary         TEXT,
    CHECK ((state = 'ended') = (outcome IS NOT NULL))
);
INSERT INTO "races" VALUES('jygkfv2f4j',1.79518959727651810642e+09,'{"arms":[{"name":"SGD","kind":"sgd","partition":null,"drift":true},{"name":"multirate","kind":"multirate","partition":{"groups":[{"name":"fast","period":1},{"name":"slow","period":5}],"rules":[{"pattern":"head.*","group":"fast"},{"pattern":"*","group":"slow"}],"model":"","fingerprint":""},"drift":true}],"model":{"name":"glyph_net","weights":"pretrained"},"data":{"name":"digits","path":"{}","image_size":null,"num_classes":null,"train_images":null,"bad_images":"refuse","download":false},"recipe":{"lr":0.01,"momentum":0.9,"weight_decay":0.0,"batch_size":32},"budget":{"epochs":2,"seconds":null},"seeds":[0],"device":"cpu","threads":1,"record_steps":true,"version":1}','jygkfv2f4j glyph_net digits {} sgd multirate','epochs ["cpu", 1, "glyph_net", ["digits", "{}", null, null], 32, [["sgd", []], ["multirate", [1, 5]]]]',2.0,'ended',1.79518959727793169021e+09,1,'cpu',NULL,'stopped','enough seen','',NULL,NULL,NULL,0,NULL,NULL,NULL,1.79518959727793169021e+09,'training seed 0',0.0,NULL,NULL,'{"device": "cpu"}','{"lanes": [{"lane": 0, "seed": 0, "arm": "SGD", "steps": 3, "epochs": 0.0, "train_seconds": 0.03, "final_accuracy": null, "final_loss": null, "best_accuracy": null, "evaluations": 0, "outcome": "stopped", "message": ""}, {"lane": 1, "seed": 0, "arm": "multirate", "steps": 3, "epochs": 0.6, "train_seconds": 0.03, "final_accuracy": 0.75, "final_loss": 0.5, "best_accuracy": 0.75, "evaluations": 1, "outcome": "stopped", "message": ""}]}');
CREATE TABLE step_chunks (
    race            TEXT NOT NULL,
    lane            INTEGER NOT NULL,
    first_step      INTEGER NOT NULL,
    records         BLOB NOT NULL,               -- 24 bytes a step (store/packing.py)
    FOREIGN KEY (race, lane) REFERENCES lanes (race, lane) ON DELETE CASCADE
);
INSERT INTO "step_chunks" VALUES('jygkfv2f4j',0,0,X'7B14AE47E17A843F0000803F0AD7233C03000000000000007B14AE47E17A943F0000003F0AD7233C0100000000000000B81E85EB51B89E3FABAAAA3E0AD7233C0100000000000000');
INSERT INTO "step_chunks" VALUES('jygkfv2f4j',1,0,X'7B14AE47E17A843F0000803F0AD7233C03000000000000007B14AE47E17A943F0000003F0AD7233C0100000000000000B81E85EB51B89E3FABAAAA3E0AD7233C0100000000000000');
CREATE UNIQUE INDEX one_race_per_device ON races (device) WHERE state IN ('starting', 'running', 'paused');
CREATE INDEX races_by_state ON races (state, queue_number);
CREATE INDEX races_by_time ON races (created_at);
CREATE INDEX races_by_likeness ON races (likeness, ended_at);
CREATE UNIQUE INDEX chunks_by_step ON step_chunks (race, lane, first_step);
CREATE INDEX evaluations_by_lane ON evaluations (race, lane);
CREATE INDEX phases_by_race ON phases (race);
COMMIT;
PRAGMA user_version = 1;
