-- Format 1 of pfs.sqlite. Read by pachgw/localpfs/db.py, which runs it in one transaction on a new file.
-- Times are nanoseconds since 1970-01-01 UTC. Bytes of objects over 16 KiB lie beside this file, in chunks/.

CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY, -- cluster_id, deployment_id: made once; auth: 'active' once it was switched on
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE repos (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT, -- order of creation
    name        TEXT    NOT NULL UNIQUE,
    description TEXT    NOT NULL,
    created     INTEGER NOT NULL, -- time
    size        INTEGER NOT NULL  -- bytes in the head of branch master when that was last set
) STRICT;

CREATE TABLE commits (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT, -- order in which commits were started
    repo        INTEGER NOT NULL REFERENCES repos (seq) ON DELETE CASCADE,
    id          TEXT    NOT NULL UNIQUE, -- 32 hex digits, UUID version 4
    parent      INTEGER REFERENCES commits (seq) ON DELETE SET NULL, -- NULL: first of its line
    branch      TEXT, -- name of the branch it was started on; NULL: on none
    description TEXT    NOT NULL,
    started     INTEGER NOT NULL, -- time
    finished    INTEGER, -- time; NULL: the commit is open
    root        BLOB, -- nodes.id of the tree's root, NULL: no files; of an open commit without its rows in `changes`
    size        INTEGER NOT NULL, -- bytes of all files in that tree
    files       INTEGER NOT NULL, -- files in that tree
    has_tree    INTEGER NOT NULL -- 0: finished with `empty`, which InspectCommit shows as having no tree
) STRICT;
CREATE INDEX commits_of_repo ON commits (repo, seq);
CREATE INDEX commits_of_branch ON commits (repo, branch, seq);
CREATE INDEX commits_of_parent ON commits (parent, seq);

CREATE TABLE branches (
    seq  INTEGER PRIMARY KEY AUTOINCREMENT, -- order of creation
    repo INTEGER NOT NULL REFERENCES repos (seq) ON DELETE CASCADE,
    name TEXT    NOT NULL,
    head INTEGER REFERENCES commits (seq) ON DELETE SET NULL, -- may be open, may be of another repo; NULL: no head
    UNIQUE (repo, name)
) STRICT;
CREATE INDEX branches_of_head ON branches (head);

-- What was written into open commits and is not yet in their trees; a row goes when it is applied.
CREATE TABLE changes (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT, -- order of writing
    commit_ INTEGER NOT NULL REFERENCES commits (seq) ON DELETE CASCADE,
    path    TEXT    NOT NULL, -- clean; '/' is the root
    objects BLOB, -- the objects put, in order: 64 bytes of hash and 8 bytes of size (big endian) each; NULL: a deletion
    keep    INTEGER -- overwrite_index: how many objects of the file stay before these; NULL: append
) STRICT;
CREATE INDEX changes_of_commit ON changes (commit_, seq);

-- Nodes of the trees of files. A node never changes; trees share those they have in common.
CREATE TABLE nodes (
    id   BLOB NOT NULL PRIMARY KEY, -- hash of the node
    data BLOB NOT NULL -- see tree.py
) STRICT;

-- Every object that a commit or an open commit may name.
CREATE TABLE objects (
    hash BLOB    NOT NULL PRIMARY KEY, -- SHA-512 of the bytes
    size INTEGER NOT NULL, -- bytes
    crcs BLOB    NOT NULL, -- checksums of its blocks, see chunks.py
    data BLOB -- the bytes of a small object; NULL: they are in a file of chunks/
) STRICT;

-- Who holds a token; only meaningful while meta.auth is 'active'.
CREATE TABLE tokens (
    hash    TEXT    NOT NULL PRIMARY KEY, -- hex SHA-256 of the token
    subject TEXT    NOT NULL, -- such as robot:alice
    expires INTEGER, -- time; NULL: never
    seeded  INTEGER NOT NULL -- 1: from the tokens file, replaced when the file is read again
) STRICT, WITHOUT ROWID;

CREATE TABLE roles (
    subject TEXT    NOT NULL, -- such as robot:fay
    role    INTEGER NOT NULL, -- auth.ClusterRole: 1 SUPER, 2 FS
    seeded  INTEGER NOT NULL, -- as in tokens
    PRIMARY KEY (subject, role)
) STRICT, WITHOUT ROWID;

-- Keyed by the repo's name, not its row: a repo may be given scopes before it is made.
CREATE TABLE acl (
    repo    TEXT    NOT NULL,
    subject TEXT    NOT NULL, -- such as robot:bob, or allClusterUsers
    scope   INTEGER NOT NULL, -- auth.Scope: 1 READER, 2 WRITER, 3 OWNER
    PRIMARY KEY (repo, subject)
) STRICT, WITHOUT ROWID;
