// The barrier of docs/participants.md: one table beside the service's own, in PostgreSQL.
//
// A command has its effect once, undoing what never happened does nothing, and an action that
// arrives after its compensation is refused.

export const CREATE = `\
CREATE TABLE IF NOT EXISTS amends_barrier (
    idempotency_key VARCHAR(128) PRIMARY KEY,
    reply TEXT,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
)`
const CLAIM =
  'INSERT INTO amends_barrier (idempotency_key, reply) VALUES ($1, $2) ON CONFLICT DO NOTHING'
const KEPT = 'SELECT reply FROM amends_barrier WHERE idempotency_key = $1'
const KEEP = 'UPDATE amends_barrier SET reply = $1 WHERE idempotency_key = $2'

/** The handler did not do it and will not: a code to switch on, and a sentence. */
export class Refused extends Error {
  constructor(code, message) {
    super(message)
    this.reply = { outcome: 'refused', data: { code, message } }
  }
}

/**
 * Answers a command with { outcome, data }. `handle(client, command)` does the work in the
 * transaction that is open on `client` and returns the output, or throws Refused. Any other error
 * rolls everything back and is the caller's.
 */
export async function run(pool, command, handle) {
  const client = await pool.connect()
  try {
    return await answer(client, command, handle)
  } catch (error) {
    await client.query('ROLLBACK')
    if (!(error instanceof Refused)) throw error
    // The refusal of a compensation is not kept: a person's retry has to reach the handler.
    if (command.phase === 'compensation') return error.reply
    if (await claim(client, command.key, error.reply)) return error.reply
    return await kept(client, command.key)
  } finally {
    client.release()
  }
}

async function answer(client, command, handle) {
  await client.query('BEGIN')
  let reply
  if (!(await claim(client, command.key))) {
    reply = await kept(client, command.key)
  } else if (command.phase === 'compensation' && !(await mayBeUndone(client, command))) {
    reply = await keep(client, command.key, null)
  } else {
    reply = await keep(client, command.key, (await handle(client, command)) ?? null)
  }
  await client.query('COMMIT')
  return reply
}

/** Whether there is something to undo; an action that was never seen is barred. */
async function mayBeUndone(client, command) {
  const action = `${command.saga}:${command.step}:action`
  const barred = new Refused('compensated_first', 'the compensation of this action came first')
  if (await claim(client, action, barred.reply)) return false
  const { outcome, data } = await kept(client, action)
  if (outcome === 'succeeded') return true
  // A refused action had no effect; with `compensate: always` the handler may still tidy up.
  return data.code !== 'compensated_first' && command.actionOutcome === 'refused'
}

/** Waits for whoever is working under the key; whether it was nobody's. */
async function claim(client, key, reply) {
  const { rowCount } = await client.query(CLAIM, [key, reply ? JSON.stringify(reply) : null])
  return rowCount === 1
}

async function kept(client, key) {
  const { rows } = await client.query(KEPT, [key])
  return JSON.parse(rows[0].reply)
}

async function keep(client, key, output) {
  const reply = { outcome: 'succeeded', data: output }
  await client.query(KEEP, [JSON.stringify(reply), key])
  return reply
}
