// A participant over HTTP: a bank that charges an account, and refunds it again.
//
//   PORT           where it listens on loopback   8090
//   DATABASE_URL   a PostgreSQL database          postgres://postgres@127.0.0.1:5432/postgres

import http from 'node:http'
import pg from 'pg'
import * as barrier from './barrier.mjs'
import { Refused } from './barrier.mjs'

const pool = new pg.Pool({
  connectionString: process.env.DATABASE_URL ?? 'postgres://postgres@127.0.0.1:5432/postgres',
})
pool.on('error', (error) => console.error('the database is away:', error.message))

/** The action. */
async function charge(client, { saga, step, data }) {
  const amount = data?.amount
  if (!Number.isInteger(amount) || amount <= 0) {
    throw new Refused('input_invalid', 'an amount is needed')
  }
  const taken = await client.query(
    'UPDATE accounts SET balance = balance - $1 WHERE name = $2 AND balance >= $1',
    [amount, data.account],
  )
  if (taken.rowCount === 0) {
    throw new Refused('insufficient_funds', `${data.account} has no ${amount} left`)
  }
  const id = `${saga}:${step}`
  await client.query('INSERT INTO charges VALUES ($1, $2, $3)', [id, data.account, amount])
  return { charge: id }
}

/**
 * Its compensation. It goes by the saga and the step, not by what the action gave out: the
 * coordinator has no output of an action whose outcome is unknown.
 */
async function refund(client, { saga, step }) {
  const { rows } = await client.query(
    'DELETE FROM charges WHERE id = $1 RETURNING account, amount',
    [`${saga}:${step}`],
  )
  for (const { account, amount } of rows) {
    const give = 'UPDATE accounts SET balance = balance + $1 WHERE name = $2'
    await client.query(give, [amount, account])
  }
}

const routes = { '/charge': charge, '/refund': refund }

/** The command of a request; throws Refused, naming the header that is missing. */
async function read(request) {
  const header = (name) => {
    const value = request.headers[name.toLowerCase()]
    if (value === undefined) throw new Refused('not_a_command', `the header ${name} is missing`)
    return value
  }
  const chunks = []
  for await (const chunk of request) chunks.push(chunk)
  const body = Buffer.concat(chunks).toString()
  return {
    key: header('Idempotency-Key'),
    saga: header('Amends-Saga-Id'),
    step: header('Amends-Step'),
    phase: header('Amends-Phase'),
    actionOutcome: request.headers['amends-action-outcome'],
    data: body === '' ? null : JSON.parse(body),
  }
}

async function respond(request, response) {
  const handle = routes[request.url]
  if (request.method !== 'POST' || !handle) {
    return problem(response, 404, 'unknown_command', 'no such route')
  }
  let command
  try {
    command = await read(request)
  } catch (error) {
    return problem(response, 400, 'not_a_command', error.message)
  }
  const { outcome, data } = await barrier.run(pool, command, handle)
  if (outcome === 'refused') return problem(response, 409, data.code, data.message)
  if (data === null) return response.writeHead(204).end()
  response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(data))
}

function problem(response, status, code, detail, headers = {}) {
  response
    .writeHead(status, { 'Content-Type': 'application/problem+json', ...headers })
    .end(JSON.stringify({ status, code, detail }))
}

const server = http.createServer((request, response) => {
  respond(request, response).catch((error) => {
    // It may go better next time; nothing was kept.
    console.error('a command failed:', error)
    problem(response, 503, 'failed', 'the bank failed', { 'Retry-After': '1' })
  })
})

await pool.query(barrier.CREATE)
await pool.query(`
  CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, balance INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS charges (id TEXT PRIMARY KEY, account TEXT, amount INTEGER);
  INSERT INTO accounts VALUES ('ada', 100) ON CONFLICT DO NOTHING`)
server.listen(Number(process.env.PORT ?? 8090), '127.0.0.1', () => console.log('ready'))
