// What the tests are written in: a test is a kind, an id, the section that it is about, a sentence that
// holds for a cache that passes, and a function that finds out.

import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'

import * as client from './client.mjs'
import * as origin from './origin.mjs'

const EVENTUALLY = 5_000 // milliseconds within which what happens beside the requests has happened

/** What the RFC demands. */
export const required = (id, section, name, story, needs) => ({ kind: 'required', id, section, name, story, needs })
/** What the RFC allows, or recommends, and sidecache promises. */
export const optimal = (id, section, name, story, needs) => ({ kind: 'optimal', id, section, name, story, needs })

/** One test's path, through the proxy: what the origin answers there, and requests for it. */
export class Story {
  #base
  #path = `/newer/${randomUUID()}`
  #log

  constructor (base, log = () => {}) {
    this.#base = base
    this.#log = log
  }

  /** What the origin answers to each request in turn; the last one repeats. */
  origin (...answers) {
    origin.plan(this.#path, answers, this.#log)
  }

  /** How often the origin has been asked. */
  get asked () {
    return origin.asked(this.#path).length
  }

  async get (fields, options) {
    const url = new URL(this.#path, this.#base)
    const response = await client.request(url, { fields, ...options })
    this.#log('client receives', `${response.status} ${response.body}`, response.rawHeaders)
    return response
  }

  /** Sends requests as text; `PATH` and `HOST` stand for what they say. */
  async text (text) {
    const url = new URL(this.#path, this.#base)
    const received = await client.exchange(url, text.replaceAll('PATH', this.#path).replaceAll('HOST', url.host))
    this.#log('client receives', received, [])
    return received
  }

  seconds (number) {
    return sleep(number * 1000)
  }

  /** Asks until the origin's answer `number` comes: what is refreshed beside the requests takes a moment. */
  async eventually (number) {
    const limit = Date.now() + EVENTUALLY
    for (;;) {
      const response = await this.get()
      if (answerOf(response) === number) return response
      expect(Date.now() < limit, `answer ${number} does not come: ${told(response)}`)
      await sleep(50)
    }
  }
}

class Failure extends Error {}

/** Why a test failed: what the proxy did, or `setup`: it did not come to what is tested. */
export function outcomeOf (error) {
  return error instanceof Failure ? error.outcome : 'harness'
}

export function expect (condition, message, outcome = 'fail') {
  if (!condition) throw Object.assign(new Failure(message), { outcome })
}

/** This is what the origin answered to its request `number`. */
export function expectAnswer (response, number, outcome) {
  expect(answerOf(response) === number, `instead of the origin's answer ${number}: ${told(response)}`, outcome)
}

/** The proxy said that the origin failed. */
export function expectError (response) {
  const isError = [502, 504].includes(response.status) && answerOf(response) === undefined
  expect(isError, `instead of 502 or 504: ${told(response)}`)
}

/** A response is stored, and answers a second request. */
export function reused (answer) {
  return async story => expectAnswer(await secondRequest(story, answer), 1)
}

/** A second request is answered by the origin; or by what is stored, if the origin was asked whether it may. */
export function askedAgain (answer, { after = 0 } = {}) {
  return async story => expectAnswer(await secondRequest(story, answer, after), 2)
}

async function secondRequest (story, answer, after = 0) {
  story.origin(answer)
  expectAnswer(await story.get(), 1, 'setup')
  await story.seconds(after)
  return story.get()
}

/** A fresh response that has become stale; then come the other answers. */
export async function stale (story, control, ...others) {
  story.origin({ fields: { 'Cache-Control': control, ETag: '"1"' } }, ...others)
  expectAnswer(await story.get(), 1, 'setup')
  await story.seconds(3)
}

export const cacheControl = value => ({ fields: { 'Cache-Control': value } })

/** The time in so many seconds, as RFC 9110 §5.6.7 wants it written. */
export const httpDate = seconds => new Date(Date.now() + seconds * 1000).toUTCString()

function answerOf ({ body }) {
  const found = /^answer (\d+)$/.exec(body)
  return found ? Number(found[1]) : undefined
}

function told ({ status, body }) {
  return `${status}, ${JSON.stringify(body.slice(0, 200))}`
}
