// Serving what is stale (RFC 9111 §4.2.4): while it is refreshed and when the origin fails (RFC 5861),
// and never where a directive prohibits it.

import { cacheControl, expect, expectAnswer, expectError, optimal, required, stale } from './story.mjs'

const SWR = 'max-age=1, stale-while-revalidate=60'
const SIE = 'max-age=1, stale-if-error=60'
const LATER = cacheControl('max-age=60')
const CLOSE = { close: true }

export default {
  id: 'stale',
  needs: [],
  tests: [
    required('stale-asks', 'RFC 9111 §4.2.4', 'without permission, what is stale is not served', async story => {
      await stale(story, 'max-age=1', LATER)
      expectAnswer(await story.get(), 2)
    }, ['swr-within']),

    // stale-while-revalidate
    optimal('swr-within', 'RFC 5861 §3', 'within its window, the stale response is served without waiting for the origin', async story => {
      const { release } = await refreshing(story, SWR, LATER)
      expectAnswer(await story.get(), 1)
      release()
    }),
    optimal('swr-refreshes', 'RFC 5861 §3', 'serving it begins a refresh, whose answer comes next', async story => {
      await stale(story, SWR, LATER)
      expectAnswer(await story.get(), 1)
      await story.eventually(2)
    }, ['swr-within']),
    optimal('swr-once', 'RFC 5861 §3', 'many requests begin one refresh', async story => {
      const { release } = await refreshing(story, SWR, LATER)
      const responses = await Promise.all(Array.from({ length: 8 }, () => story.get()))
      responses.forEach(response => expectAnswer(response, 1))
      release()
      await story.eventually(2)
      expect(story.asked === 2, `the origin was asked ${story.asked} times`)
    }, ['swr-within']),
    optimal('swr-validates', 'RFC 5861 §3', 'a refresh may be a validation: after a 304 it is fresh again', async story => {
      await stale(story, SWR, { status: 304, ...LATER }, CLOSE)
      expectAnswer(await story.get(), 1)
      const limit = Date.now() + 5000
      for (let age = 3; age >= 3;) {
        const response = await story.get()
        expectAnswer(response, 1)
        age = Number(response.fields.age)
        expect(Date.now() < limit, `its Age is still ${age}`)
      }
    }, ['swr-within']),
    optimal('swr-failed', 'RFC 5861 §3', 'a refresh that fails ends no window', async story => {
      await stale(story, SWR, CLOSE)
      expectAnswer(await story.get(), 1)
      expectAnswer(await story.get(), 1)
    }, ['swr-within']),
    required('swr-age', 'RFC 9111 §5.1', 'a stale response tells its Age', async story => {
      await stale(story, SWR, LATER)
      const response = await story.get()
      expectAnswer(response, 1, 'setup')
      expect(Number(response.fields.age) >= 2, `Age: ${response.fields.age}`)
    }, ['swr-within']),
    required('swr-after', 'RFC 5861 §3', 'after its window, the origin is asked first', async story => {
      await stale(story, 'max-age=1, stale-while-revalidate=1', LATER)
      expectAnswer(await story.get(), 2)
    }, ['swr-within']),
    required('swr-must-revalidate', 'RFC 9111 §5.2.2.2', 'must-revalidate prohibits it', async story => {
      await stale(story, `${SWR}, must-revalidate`, LATER)
      expectAnswer(await story.get(), 2)
    }, ['swr-within']),

    // stale-if-error
    optimal('sie-close', 'RFC 5861 §4', 'within its window, it is served when the origin gives no answer', async story => {
      await stale(story, SIE, CLOSE)
      expectAnswer(await story.get(), 1)
    }),
    ...[500, 502, 503, 504].map(status =>
      optimal(`sie-${status}`, 'RFC 5861 §4', `within its window, it is served instead of a ${status}`, async story => {
        await stale(story, SIE, { status })
        expectAnswer(await story.get(), 1)
      })),
    required('sie-404', 'RFC 5861 §4', 'a 404 is no error in its sense', async story => {
      await stale(story, SIE, { status: 404 })
      expectAnswer(await story.get(), 2)
    }, ['sie-503']),
    required('sie-after', 'RFC 5861 §4', 'after its window, the error is passed on', async story => {
      await stale(story, 'max-age=1, stale-if-error=1', { status: 503 })
      expectAnswer(await story.get(), 2)
    }, ['sie-503']),
    optimal('sie-recovers', 'RFC 5861 §4', "the origin's answer comes when it answers again", async story => {
      await stale(story, SIE, { status: 503 }, LATER)
      expectAnswer(await story.get(), 1)
      await story.eventually(3)
    }, ['sie-503']),
    required('sie-stored-error', 'RFC 5861 §4', 'a stored error is no stand-in: the origin is asked', async story => {
      story.origin({ status: 503, fields: { 'Cache-Control': 'max-age=0, stale-if-error=60', ETag: '"1"' } }, LATER)
      expectAnswer(await story.get(), 1, 'setup')
      expectAnswer(await story.get(), 2)
    }, ['sie-503']),

    // Without an origin, and never where it is prohibited.
    optimal('stale-disconnected', 'RFC 9111 §4.2.4', 'without an origin, what is stale may be served', async story => {
      await stale(story, 'max-age=1', CLOSE)
      expectAnswer(await story.get(), 1)
    }),
    ...[
      ['must-revalidate', '§5.2.2.2', 'max-age=1, must-revalidate'],
      ['must-revalidate-sie', '§5.2.2.2', 'max-age=1, must-revalidate, stale-if-error=60'],
      ['proxy-revalidate', '§5.2.2.8', 'max-age=1, proxy-revalidate'],
      ['s-maxage', '§5.2.2.10', 's-maxage=1'],
      ['no-cache', '§5.2.2.4', 'max-age=1, no-cache']
    ].map(([name, section, control]) =>
      required(`stale-prohibited-${name}`, `RFC 9111 ${section}`, `${control}: 502 or 504 instead`, async story => {
        await stale(story, control, CLOSE)
        expectError(await story.get())
      }, ['stale-disconnected'])),
    required('stale-prohibited-max-stale', 'RFC 9111 §4.2.4', "must-revalidate counts more than a client's max-stale", async story => {
      await stale(story, 'max-age=1, must-revalidate', CLOSE)
      expectError(await story.get({ 'Cache-Control': 'max-stale=60' }))
    }, ['stale-disconnected'])
  ]
}

/** A stale response, whose refresh the origin does not answer before `release` is called. */
async function refreshing (story, control, later) {
  let release
  const when = new Promise(resolve => { release = resolve })
  await stale(story, control, { ...later, when: Promise.race([when, story.seconds(8)]) })
  return { release }
}
