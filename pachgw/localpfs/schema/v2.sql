-- From format 1 to format 2: auth is a service of its own, not only what a file said.
-- Run by pachgw/localpfs/db.py in one transaction. Times are nanoseconds since 1970-01-01 UTC.
-- New in meta: auth is 'off' once it was switched off by a call; auth_configuration: auth.AuthConfig as JSON.
-- New in acl: scope 0, NONE, as SetACL keeps it, and numbers that have no name.

-- What the tokens file of the last start had is like any other token or role from here on.
ALTER TABLE tokens DROP COLUMN seeded;
ALTER TABLE roles DROP COLUMN seeded;

-- auth.TokenInfo.TokenSource: 1 AUTHENTICATE, 2 GET_TOKEN.
ALTER TABLE tokens ADD COLUMN source INTEGER NOT NULL DEFAULT 2;

CREATE INDEX tokens_by_expiry ON tokens (expires);
CREATE INDEX tokens_by_subject ON tokens (subject);

-- Which subjects are in which groups; a group may hold scopes like a subject.
CREATE TABLE members (
    member   TEXT NOT NULL, -- a subject such as robot:bob
    in_group TEXT NOT NULL, -- such as group/GitHub:devs
    PRIMARY KEY (member, in_group)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_of_group ON members (in_group, member);

-- Passwords that are good for one Authenticate.
CREATE TABLE one_time_passwords (
    hash            TEXT    NOT NULL PRIMARY KEY, -- hex SHA-256 of the password
    subject         TEXT    NOT NULL,
    expires         INTEGER NOT NULL, -- time
    session_expires INTEGER -- time at which the token made with it ends at the latest; NULL: no such time
) STRICT, WITHOUT ROWID;
CREATE INDEX one_time_passwords_by_expiry ON one_time_passwords (expires);
