// The origin server of these tests: answers each path with what its test says, in order.
//
// An answer is `{ status, fields, body, interim, close, when }`, all of them optional:
//   fields   an object of names and values; a list of values is as many lines; `Date: null` leaves it out
//   interim  answers of `{ status, fields }` that come before the final one
//   close    true: the connection is closed instead
//   when     a promise: the final answer (not the interim ones) waits for it

import { createServer, STATUS_CODES } from 'node:http'

const plans = new Map() // by path: what to answer, and what was asked

/** Listens on a free port of loopback; gives the port. */
export async function listen () {
  const server = createServer(answer)
  server.keepAliveTimeout = 600_000 // no test is about an idle connection that ends
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
  return server.address().port
}

/** From now on, a path is answered so; the last answer repeats. */
export function plan (path, answers, log) {
  plans.set(path, { answers, asked: [], log })
}

/** The requests for a path until now. */
export function asked (path) {
  return plans.get(path).asked
}

async function answer (request, response) {
  const planned = plans.get(request.url)
  if (!planned) return response.writeHead(500).end('no test has this path')
  planned.asked.push({ method: request.method, fields: request.headers })
  const number = planned.asked.length
  const given = planned.answers[Math.min(number, planned.answers.length) - 1]
  planned.log(`origin is asked (${number})`, `${request.method} ${request.url}`, request.rawHeaders)
  for (const interim of given.interim ?? []) writeInterim(request.socket, interim)
  await given.when
  if (given.close) {
    planned.log(`origin closes (${number})`, '', [])
    return request.socket.destroy()
  }
  response.sendDate = given.fields?.Date === undefined
  for (const [name, value] of Object.entries(given.fields ?? {})) {
    if (value !== null) response.setHeader(name, value)
  }
  response.writeHead(given.status ?? 200)
  response.end(given.body ?? `answer ${number}`) // by which the client knows it; Node.js leaves it out of 204 and 304
  planned.log(`origin answers (${number})`, response.statusCode, Object.entries(response.getHeaders()).flat())
}

function writeInterim (socket, { status, fields = {} }) {
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Interim'}\r\n${lines.join('')}\r\n`)
}
