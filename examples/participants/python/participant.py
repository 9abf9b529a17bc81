"""A participant over RabbitMQ: a warehouse that reserves stock, and releases it again.

    AMQP_URL   the broker        amqp://guest:guest@127.0.0.1:5672
    QUEUE      its own queue     warehouse
    DATABASE   an SQLite file    warehouse.db
"""

import json
import logging
import os
import sqlite3
import time

import pika
from pika.exceptions import AMQPError

import barrier
from barrier import Refused

CONTENT_TYPE = "application/cloudevents+json"
MEMBERS = {"id", "subject", "sagaid", "sagastep", "sagaphase", "idempotencykey", "replyto"}
log = logging.getLogger("warehouse")


def reserve(database, command):
    """The action."""
    try:
        item, quantity = command["data"]["item"], int(command["data"]["quantity"])
    except (KeyError, TypeError, ValueError) as error:
        raise Refused("input_invalid", "an item and a quantity are needed") from error
    taken = database.execute(
        "UPDATE stock SET free = free - ? WHERE item = ? AND free >= ?", (quantity, item, quantity)
    )
    if taken.rowcount == 0:
        raise Refused("out_of_stock", f"there are no {quantity} of {item}")
    reservation = f"{command['sagaid']}:{command['sagastep']}"
    database.execute("INSERT INTO reservations VALUES (?, ?, ?)", (reservation, item, quantity))
    return {"reservation": reservation}


def release(database, command):
    """Its compensation. It goes by the saga and the step, not by what the action gave out: the
    coordinator has no output of an action whose outcome is unknown."""
    reservation = f"{command['sagaid']}:{command['sagastep']}"
    freed = database.execute(
        "DELETE FROM reservations WHERE id = ? RETURNING item, quantity", (reservation,)
    ).fetchone()
    if freed is not None:
        item, quantity = freed
        database.execute("UPDATE stock SET free = free + ? WHERE item = ?", (quantity, item))


HANDLERS = {"reserve": reserve, "release": release}


def answer(database, command):
    """The outcome of a command, {"outcome", "data"}."""
    handle = HANDLERS.get(command["subject"])
    if handle is None:
        return Refused("unknown_command", f"there is no {command['subject']} here").reply
    try:
        return barrier.run(database, command, handle)
    except Exception:
        # It may go better next time; nothing was kept.
        log.exception("%s failed", command["id"])
        return {"outcome": "retry", "data": {"code": "failed", "message": "the warehouse failed"}}


def read(body):
    """The command in a message; ValueError when there is none."""
    command = json.loads(body)
    if not isinstance(command, dict) or command.get("type") != "amends.command.v1":
        raise ValueError("this is no command")
    if missing := MEMBERS - command.keys():
        raise ValueError(f"the command has no {', '.join(sorted(missing))}")
    return command


def on_message(channel, method, properties, body, database):
    try:
        command = read(body)
    except (ValueError, RecursionError) as error:
        # It becomes a dead letter, which the coordinator shows.
        log.warning("rejected a message: %s", error)
        channel.basic_reject(method.delivery_tag, requeue=False)
        return
    reply = {
        "specversion": "1.0",
        "id": command["id"],
        "type": "amends.reply.v1",
        "source": "/warehouse",
        "sagaid": command["sagaid"],
        "sagastep": command["sagastep"],
        "sagaphase": command["sagaphase"],
        **answer(database, command),
    }
    properties = pika.BasicProperties(
        content_type=CONTENT_TYPE,
        delivery_mode=pika.DeliveryMode.Persistent,
        message_id=reply["id"],
        correlation_id=command["idempotencykey"],
        type=reply["type"],
    )
    # Returns when the broker has it. Only then is the command done with.
    channel.basic_publish("", command["replyto"], json.dumps(reply), properties, mandatory=True)
    channel.basic_ack(method.delivery_tag)


def open_database(path):
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute(barrier.CREATE)
    database.executescript(
        """
        CREATE TABLE IF NOT EXISTS stock (item TEXT PRIMARY KEY, free INTEGER NOT NULL);
        CREATE TABLE IF NOT EXISTS reservations (id TEXT PRIMARY KEY, item TEXT, quantity INTEGER);
        INSERT INTO stock VALUES ('lamp', 10) ON CONFLICT DO NOTHING;
        """
    )
    return database


def consume(url, queue, database):
    """Until the connection breaks. The queue is declared by the coordinator."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_qos(prefetch_count=20)
        channel.basic_consume(queue, lambda *message: on_message(*message, database))
        log.info("consuming %s", queue)
        channel.start_consuming()


def main():
    logging.basicConfig(level=logging.INFO)
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    url = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672")
    queue = os.environ.get("QUEUE", "warehouse")
    database = open_database(os.environ.get("DATABASE", "warehouse.db"))
    while True:
        try:
            consume(url, queue, database)
        except AMQPError as error:
            # Nothing is lost: what was not acknowledged comes again.
            log.warning("the broker is away: %r", error)
            time.sleep(1)


if __name__ == "__main__":
    main()
