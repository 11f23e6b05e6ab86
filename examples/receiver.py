"""A receiver of Ratchet's webhooks, whole and small enough to read over a coffee. Take it, and change `act_on`.

    pip install standardwebhooks
    WEBHOOK_SECRET=whsec_… python receiver.py --port 8000 --memory receiver.db

A request is verified, written down and answered; the work is done afterwards, by one thread, in the order in which the
events came. What must survive a crash is in one SQLite file.
"""

import argparse
import contextlib
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

LARGEST_BODY = 1024 * 1024
TABLES = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS message (number INTEGER PRIMARY KEY, id TEXT UNIQUE, body BLOB NOT NULL, outcome TEXT);
CREATE TABLE IF NOT EXISTS payout (id TEXT PRIMARY KEY, sequence INTEGER NOT NULL, status TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS message_waiting ON message (number) WHERE outcome IS NULL;
"""

log = logging.getLogger("receiver")


def act_on(payout: dict[str, Any]) -> None:
    """Do your own work here. It may be asked for twice if we are killed in between, so make it repeatable."""
    log.info("%s is %s", payout["reference"], payout["status"])


class Memory:
    """What has come, and how far each payout has got."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.has_work = threading.Event()
        self.has_work.set()  # something may be left from the last time
        with self.opened() as db:
            db.executescript(TABLES)

    @contextlib.contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """Open the file for one thread; commit at the end, roll back if it raises."""
        with contextlib.closing(sqlite3.connect(self.path, timeout=10)) as db, db:
            yield db

    def keep(self, message_id: str, body: bytes) -> None:
        """Write a message down before it is answered. `webhook-id` is the same on every attempt: one row each."""
        with self.opened() as db:
            db.execute("INSERT OR IGNORE INTO message (id, body) VALUES (?, ?)", (message_id, body))
        self.has_work.set()

    def work_off(self) -> None:
        """Take up what waits, for ever."""
        while self.has_work.wait():
            self.has_work.clear()
            while self.take_next():
                pass

    def take_next(self) -> bool:
        """Take the oldest message that waits; return whether there was one."""
        with self.opened() as db:
            waiting = "SELECT number, body FROM message WHERE outcome IS NULL ORDER BY number LIMIT 1"
            number, body = db.execute(waiting).fetchone() or (None, b"")
            if number is None:
                return False
            try:
                outcome = self.take(db, json.loads(body))
            except Exception:  # one event that we cannot work must not hold up all that follow
                log.exception("message %s needs a person", number)
                outcome = "failed"
            db.execute("UPDATE message SET outcome = ? WHERE number = ?", (outcome, number))
            return True

    def take(self, db: sqlite3.Connection, event: dict[str, Any]) -> str:
        """Act on an event unless a later one of its payout has been here already; return what was done."""
        if not event["type"].startswith("payout."):
            return "not about a payout"  # `endpoint.ping`, and types that are newer than this file
        payout = event["data"]
        known = db.execute("SELECT sequence FROM payout WHERE id = ?", (payout["id"],)).fetchone()
        latest = known[0] if known else 0
        if payout["sequence"] <= latest:
            return "older"  # sent again on request; what we know is newer
        act_on(payout)
        row = (payout["id"], payout["sequence"], payout["status"])
        db.execute("INSERT OR REPLACE INTO payout (id, sequence, status) VALUES (?, ?, ?)", row)
        # Events of one payout come in order, so a gap is no event still on its way: it is of a type that we did not
        # subscribe to, or from before we did.
        return (
            "taken" if payout["sequence"] == latest + 1 else f"taken after a gap of {payout['sequence'] - latest - 1}"
        )


class Door(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    webhook: Webhook
    memory: Memory

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > LARGEST_BODY:
            self.close_connection = True  # the body has not been read
            return self.answer(413)
        body = self.rfile.read(int(length))  # the raw bytes: verify these, not what a parser makes of them
        try:
            self.webhook.verify(body, dict(self.headers.items()))  # and no more than five minutes old
        except (WebhookVerificationError, ValueError):
            return self.answer(401)
        self.memory.keep(self.headers["webhook-id"], body)
        return self.answer(204)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, text: str, *values: object) -> None:
        log.debug(text, *values)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    options = argparse.ArgumentParser(description="Receive Ratchet's webhooks.")
    options.add_argument("--port", type=int, default=8000)
    options.add_argument("--memory", default="receiver.db", help="the SQLite file")
    known = options.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    Door.webhook = Webhook(os.environ["WEBHOOK_SECRET"])
    Door.memory = Memory(known.memory)
    threading.Thread(target=Door.memory.work_off, daemon=True).start()
    Server(("127.0.0.1", known.port), Door).serve_forever()


if __name__ == "__main__":
    main()
