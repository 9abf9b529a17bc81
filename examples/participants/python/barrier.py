"""The barrier of docs/participants.md: one table beside the service's own, in SQLite.

A command has its effect once, undoing what never happened does nothing, and an action that
arrives after its compensation is refused.
"""

import json

CREATE = """\
CREATE TABLE IF NOT EXISTS amends_barrier (
    idempotency_key TEXT PRIMARY KEY,
    reply TEXT,
    created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
)"""
CLAIM = "INSERT INTO amends_barrier (idempotency_key, reply) VALUES (?, ?) ON CONFLICT DO NOTHING"
KEPT = "SELECT reply FROM amends_barrier WHERE idempotency_key = ?"
KEEP = "UPDATE amends_barrier SET reply = ? WHERE idempotency_key = ?"


class Refused(Exception):
    """The handler did not do it and will not: a code to switch on, and a sentence."""

    def __init__(self, code, message):
        super().__init__(message)
        self.reply = {"outcome": "refused", "data": {"code": code, "message": message}}


def run(database, command, handle):
    """Answers a command with {"outcome", "data"}.

    `handle(database, command)` does the work in the transaction that is open and returns the
    output, or raises Refused. Any other exception rolls everything back and is the caller's.
    `database` is a sqlite3 connection with isolation_level=None.
    """
    key = command["idempotencykey"]
    database.execute("BEGIN IMMEDIATE")
    try:
        if not _claim(database, key):
            reply = _kept(database, key)
        elif command["sagaphase"] == "compensation" and not _may_be_undone(database, command):
            reply = _keep(database, key, None)
        else:
            reply = _keep(database, key, handle(database, command))
        database.commit()
        return reply
    except Refused as refusal:
        database.rollback()
        # The refusal of a compensation is not kept: a person's retry has to reach the handler.
        if command["sagaphase"] == "compensation" or _claim(database, key, refusal.reply):
            return refusal.reply
        return _kept(database, key)
    except BaseException:
        database.rollback()
        raise


def _may_be_undone(database, command):
    """Whether there is something to undo; an action that was never seen is barred."""
    action = f"{command['sagaid']}:{command['sagastep']}:action"
    barred = Refused("compensated_first", "the compensation of this action came first")
    if _claim(database, action, barred.reply):
        return False
    kept = _kept(database, action)
    if kept["outcome"] == "succeeded":
        return True
    # A refused action had no effect; with `compensate: always` the handler may still tidy up.
    was_asked = kept["data"]["code"] != "compensated_first"
    return was_asked and command.get("actionoutcome") == "refused"


def _claim(database, key, reply=None):
    text = None if reply is None else json.dumps(reply)
    return database.execute(CLAIM, (key, text)).rowcount == 1


def _kept(database, key):
    return json.loads(database.execute(KEPT, (key,)).fetchone()[0])


def _keep(database, key, output):
    reply = {"outcome": "succeeded", "data": output}
    database.execute(KEEP, (json.dumps(reply), key))
    return reply
