// The client of these tests: one connection for each request, and nothing kept.

import { request as send } from 'node:http'
import { connect } from 'node:net'

export const LIMIT = 20_000 // milliseconds for an answer: longer than any test lets one wait

/**
 * Sends a request; gives status, fields (lines of one name joined), `lines` of a name, body and the
 * interim responses before it. `seen` is called with each of those as it comes.
 */
export function request (url, { method = 'GET', fields = {}, seen = () => {} } = {}) {
  return new Promise((resolve, reject) => {
    const interim = []
    const sent = send(url, { method, headers: fields, agent: false, timeout: LIMIT })
    sent.on('information', ({ statusCode, headers }) => {
      interim.push({ status: statusCode, fields: headers })
      seen(interim.at(-1))
    })
    sent.on('response', async response => {
      try {
        let body = ''
        for await (const part of response.setEncoding('utf8')) body += part
        resolve({ status: response.statusCode, ...fieldsOf(response), body, interim })
      } catch (error) {
        reject(error)
      }
    })
    sent.on('timeout', () => sent.destroy(new Error(`no answer in ${LIMIT / 1000} s`)))
    sent.on('error', reject)
    sent.end()
  })
}

function fieldsOf ({ headers, rawHeaders }) {
  const lines = name => rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1].toLowerCase() === name)
  return { fields: headers, lines, rawHeaders }
}

/** Sends text over one connection and gives all that comes until its end. */
export function exchange (url, text) {
  return new Promise((resolve, reject) => {
    let received = ''
    const socket = connect(url.port, url.hostname, () => socket.write(text))
    socket.setEncoding('utf8').setTimeout(LIMIT, () => socket.destroy(new Error('the connection stays open')))
    socket.on('data', part => { received += part })
    socket.on('end', () => { socket.end(); resolve(received) })
    socket.on('error', reject)
  })
}
