// Interim responses (RFC 9110 §15.2; 102: RFC 2518; 103: RFC 8297), which come before the final one.

import { cacheControl, expect, expectAnswer, optimal, required, stale } from './story.mjs'

const hints = { status: 103, fields: { Link: '</style.css>; rel=preload', 'Only-Early': 'yes' } }
const processing = { status: 102 }
const SECTION = 'RFC 9110 §15.2'

export default {
  id: 'interim',
  needs: ['interim-103'],
  tests: [
    required('interim-103', SECTION, '103 is passed on', passed([hints]), []),
    required('interim-102', SECTION, '102 is passed on', passed([processing])),
    required('interim-unknown', SECTION, 'an unknown 1xx is passed on', passed([{ status: 142 }])),
    required('interim-several', SECTION, 'several are passed on, in order', passed([processing, hints, processing, hints])),
    required('interim-head', SECTION, 'it is passed on for HEAD', passed([hints], { method: 'HEAD' })),
    required('interim-post', SECTION, 'it is passed on for POST', passed([hints], { method: 'POST' })),
    required('interim-fields', 'RFC 8297 §2', 'its fields are passed on, and are not those of the final response', async story => {
      story.origin({ interim: [hints] })
      const response = await story.get()
      expect(response.interim[0]?.fields.link === hints.fields.Link, `Link: ${response.interim[0]?.fields.link}`)
      expectNoneMerged(response)
    }),
    optimal('interim-at-once', 'RFC 8297 §1', 'it is passed on before the final response is there', async story => {
      let release
      let early = true
      const seen = new Promise(resolve => { release = resolve })
      const when = Promise.race([seen, story.seconds(5).then(() => { early = false })])
      story.origin({ interim: [hints], when })
      await story.get({}, { seen: release })
      expect(early, 'it came with the final response')
    }),
    required('interim-http10', SECTION, 'an HTTP/1.0 client gets none', async story => {
      story.origin({ interim: [hints] })
      const received = await story.text('GET PATH HTTP/1.0\r\nHost: HOST\r\n\r\n')
      expectStatuses(received, [200])
    }),
    required('interim-pipelined', 'RFC 9112 §9.3.2', 'with pipelined requests, each comes before its own response', async story => {
      const answer = { ...cacheControl('no-store'), interim: [hints] }
      story.origin(answer)
      const request = 'GET PATH HTTP/1.1\r\nHost: HOST\r\n'
      const received = await story.text(`${request}\r\n${request}Connection: close\r\n\r\n`)
      expectStatuses(received, [103, 200, 103, 200])
    }),

    // What the cache makes of it.
    optimal('interim-then-stored', 'RFC 9111 §3', 'the final response is stored', async story => {
      await hit(story, 'max-age=60', [hints], 'fail')
    }),
    required('interim-not-stored', 'RFC 9111 §3', 'only final responses are stored: a hit has no interim response before it', async story => {
      const response = await hit(story, 'max-age=60', [hints], 'setup')
      expect(response.interim.length === 0, `${response.interim.length} before a hit`)
    }, ['interim-103', 'interim-then-stored']),
    required('interim-not-merged', 'RFC 9111 §3', 'a hit has none of its fields', async story => {
      expectNoneMerged(await hit(story, 'max-age=60', [hints], 'setup'))
    }, ['interim-103', 'interim-then-stored']),
    optimal('interim-no-store', 'RFC 9111 §3', 'its no-store says nothing of the final response', async story => {
      await hit(story, 'max-age=60', [{ status: 103, fields: { 'Cache-Control': 'no-store' } }], 'fail')
    }),
    required('interim-max-age', 'RFC 9111 §3', 'its max-age is no lifetime of the final response', async story => {
      story.origin({ interim: [{ status: 103, fields: { 'Cache-Control': 'max-age=60' } }] })
      expectAnswer(await story.get(), 1, 'setup')
      expectAnswer(await story.get(), 2)
    }, ['interim-103', 'interim-then-stored']),
    required('interim-validation', 'RFC 9111 §4.3.3', 'before a 304, it is not taken for the answer, nor for a part of it', async story => {
      await stale(story, 'max-age=1', { status: 304, interim: [hints], ...cacheControl('max-age=60') })
      const response = await story.get()
      expectAnswer(response, 1)
      expectNoneMerged(response)
      expectAnswer(await story.get(), 1)
    })
  ]
}

function passed (interim, options) {
  return async story => {
    story.origin({ interim })
    const response = await story.get({}, options)
    expect(response.status === 200, `the final status is ${response.status}`, 'setup')
    const statuses = response.interim.map(({ status }) => status)
    expect(`${statuses}` === `${interim.map(({ status }) => status)}`, `received: ${statuses.join(', ') || 'none'}`)
  }
}

async function hit (story, control, interim, outcome) {
  story.origin({ ...cacheControl(control), interim })
  expectAnswer(await story.get(), 1, 'setup')
  const response = await story.get()
  expectAnswer(response, 1, outcome)
  return response
}

function expectNoneMerged ({ fields }) {
  expect(!('only-early' in fields) && !('link' in fields), 'its fields are in the final response')
}

function expectStatuses (received, wanted) {
  const statuses = [...received.matchAll(/^HTTP\/1\.\d (\d+)/gm)].map(([, status]) => Number(status))
  expect(`${statuses}` === `${wanted}`, `received ${statuses.join(', ') || 'nothing'}, not ${wanted.join(', ')}`)
}
